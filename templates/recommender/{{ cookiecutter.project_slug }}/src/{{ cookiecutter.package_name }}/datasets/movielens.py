"""MovieLens in the formats in which GroupLens publishes it (Harper & Konstan, 2015)."""

import hashlib
import http.client
import io
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..engine.errors import DataProblem, ProjectError
from ..engine.files import project_root

ADDRESS = "https://files.grouplens.org/datasets/movielens/ml-{}.zip"
# MD5 as GroupLens states it beside each file; latest-small changes now and then.
CHECKSUMS = {
    "100k": "0e33842e24a9c977be4e0107933c0723",
    "1m": "c4d9eecfca2ab87c1945afe126590906",
}
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)

Features = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Movies:
    """Ratings with the columns user, item, rating and timestamp, and features by id."""

    ratings: Iterator[pd.DataFrame]
    users: Features | None
    movies: Features | None


def read(name: str, folder: str | None) -> Movies:
    """A set: ``latest-small``, ``100k`` or ``1m``.

    Args:
        folder: where its files are; None: they are downloaded once.

    Raises:
        DataProblem: a file is missing, or the download is not what it must be.
        ProjectError: it cannot be downloaded.
    """
    path = Path(folder) if folder else _downloaded(name)
    for needed in FILES[name]:
        if not (path / needed).is_file():
            raise DataProblem(f"data.path: {str(path)!r} has no file {needed}.")
    return READERS[name](path)


def _latest(path: Path) -> Movies:
    ratings = pd.read_csv(path / "ratings.csv", dtype=str)
    ratings.columns = ["user", "item", "rating", "timestamp"]
    movies = pd.read_csv(path / "movies.csv", dtype=str, keep_default_na=False)
    return Movies(iter([ratings]), None, _features(movies, "movieId", ["genres"]))


def _hundred_thousand(path: Path) -> Movies:
    columns = ["user", "item", "rating", "timestamp"]
    ratings = pd.read_csv(path / "u.data", sep="\t", names=columns, dtype=str)
    kinds = ["user", "age", "gender", "occupation", "zip"]
    users = pd.read_csv(path / "u.user", sep="|", names=kinds, dtype=str)
    names = ["item", "title", "release", "video", "url", *GENRES]
    movies = pd.read_csv(path / "u.item", sep="|", names=names, dtype=str, encoding="latin-1")
    movies["genres"] = [
        "|".join(g for g in GENRES if row[g] == "1") for _, row in movies.iterrows()
    ]
    return Movies(
        iter([ratings]),
        _features(users, "user", ["age", "gender", "occupation"]),
        _features(movies, "item", ["genres"]),
    )


def _million(path: Path) -> Movies:
    def table(name: str, columns: list[str]) -> pd.DataFrame:
        text = (path / name).read_text(encoding="latin-1").replace("::", "\x1f")
        return pd.read_csv(io.StringIO(text), sep="\x1f", names=columns, dtype=str)

    users = table("users.dat", ["user", "gender", "age", "occupation", "zip"])
    # Ages and occupations are numbers of groups.
    users["age"], users["occupation"] = "age " + users["age"], "job " + users["occupation"]
    return Movies(
        iter([table("ratings.dat", ["user", "item", "rating", "timestamp"])]),
        _features(users, "user", ["gender", "age", "occupation"]),
        _features(table("movies.dat", ["item", "title", "genres"]), "item", ["genres"]),
    )


FILES = {
    "latest-small": ("ratings.csv", "movies.csv"),
    "100k": ("u.data", "u.user", "u.item"),
    "1m": ("ratings.dat", "users.dat", "movies.dat"),
}
READERS = {"latest-small": _latest, "100k": _hundred_thousand, "1m": _million}


def _features(frame: pd.DataFrame, column: str, names: list[str]) -> Features:
    text = frame.fillna("").astype(str)
    return (
        text[column].to_numpy(dtype=object),
        {name: text[name].to_numpy(dtype=object) for name in names},
    )


def _downloaded(name: str) -> Path:
    folder = project_root() / ".cache" / f"ml-{name}"
    if folder.is_dir():
        return folder
    try:
        with urllib.request.urlopen(ADDRESS.format(name), timeout=60) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ProjectError(
            f"data.source: 'movielens:{name}' cannot be downloaded ({error}); it needs a network "
            "once, or data.path, the folder of its files."
        ) from error
    unpack(content, name, folder)
    return folder


def unpack(content: bytes, name: str, folder: Path) -> None:
    """Check a downloaded archive and put its files into the folder.

    Raises:
        DataProblem: it is not what was published.
    """
    wanted = CHECKSUMS.get(name)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if wanted and found != wanted:
        raise DataProblem(
            f"data.source: the download of 'movielens:{name}' has the checksum {found}, not "
            f"{wanted}."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {needed: archive.read(f"ml-{name}/{needed}") for needed in FILES[name]}
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataProblem(f"data.source: the download of 'movielens:{name}': {error}.") from None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        whole = Path(beside) / "whole"
        whole.mkdir()
        for needed, data in files.items():
            (whole / needed).write_bytes(data)
        whole.replace(folder)
