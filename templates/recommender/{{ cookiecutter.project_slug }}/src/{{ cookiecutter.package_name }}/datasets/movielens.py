"""Read MovieLens (Harper & Konstan, 2015) in the formats that GroupLens publishes."""

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
# MD5 as GroupLens publishes it beside each file; latest-small is updated, so it has none.
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
    """Read a dataset.

    Args:
        name: ``latest-small``, ``100k`` or ``1m``.
        folder: of its files; None: download them once.

    Raises:
        DataProblem: a file is missing, or the download is damaged.
        ProjectError: the download fails.
    """
    path = Path(folder) if folder else _download(name)
    for file in FILES[name]:
        if not (path / file).is_file():
            raise DataProblem(f"data.path: {str(path)!r} has no file {file}.")
    return READERS[name](path)


def _read_latest(path: Path) -> Movies:
    ratings = pd.read_csv(path / "ratings.csv", dtype=str)
    ratings.columns = ["user", "item", "rating", "timestamp"]
    movies = pd.read_csv(path / "movies.csv", dtype=str, keep_default_na=False)
    return Movies(iter([ratings]), None, _select_features(movies, "movieId", ["genres"]))


def _read_100k(path: Path) -> Movies:
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
        _select_features(users, "user", ["age", "gender", "occupation"]),
        _select_features(movies, "item", ["genres"]),
    )


def _read_1m(path: Path) -> Movies:
    def table(name: str, columns: list[str]) -> pd.DataFrame:
        text = (path / name).read_text(encoding="latin-1").replace("::", "\x1f")
        return pd.read_csv(io.StringIO(text), sep="\x1f", names=columns, dtype=str)

    users = table("users.dat", ["user", "gender", "age", "occupation", "zip"])
    # Both are codes of groups, not quantities: make them categories.
    users["age"], users["occupation"] = "age " + users["age"], "job " + users["occupation"]
    return Movies(
        iter([table("ratings.dat", ["user", "item", "rating", "timestamp"])]),
        _select_features(users, "user", ["gender", "age", "occupation"]),
        _select_features(table("movies.dat", ["item", "title", "genres"]), "item", ["genres"]),
    )


FILES = {
    "latest-small": ("ratings.csv", "movies.csv"),
    "100k": ("u.data", "u.user", "u.item"),
    "1m": ("ratings.dat", "users.dat", "movies.dat"),
}
READERS = {"latest-small": _read_latest, "100k": _read_100k, "1m": _read_1m}


def _select_features(frame: pd.DataFrame, column: str, names: list[str]) -> Features:
    text = frame.fillna("").astype(str)
    return (
        text[column].to_numpy(dtype=object),
        {name: text[name].to_numpy(dtype=object) for name in names},
    )


# keras.utils.get_file has no timeout, leaves a partial file behind when it is killed, and prints to
# standard output, where ``predict --json`` writes.
def _download(name: str) -> Path:
    folder = project_root() / ".cache" / f"ml-{name}"
    if folder.is_dir():
        return folder
    try:
        with urllib.request.urlopen(ADDRESS.format(name), timeout=60) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ProjectError(
            f"data.source: cannot download 'movielens:{name}' ({error}); connect to the network "
            "once, or set data.path to a folder with its files."
        ) from error
    extract(content, name, folder)
    return folder


def extract(content: bytes, name: str, folder: Path) -> None:
    """Check a downloaded archive and extract its files, all or none of them.

    Args:
        content: of the zip archive.
        name: of the dataset, see ``read``.
        folder: to create.

    Raises:
        DataProblem: the archive is not the published one.
    """
    expected = CHECKSUMS.get(name)
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected and checksum != expected:
        raise DataProblem(
            f"data.source: the download of 'movielens:{name}' has the checksum {checksum}, not "
            f"{expected}."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {file: archive.read(f"ml-{name}/{file}") for file in FILES[name]}
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataProblem(f"data.source: the download of 'movielens:{name}': {error}.") from None
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the folder and renamed, so that an interrupted run leaves no half of it.
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        complete = Path(beside) / "complete"
        complete.mkdir()
        for file, data in files.items():
            (complete / file).write_bytes(data)
        complete.replace(folder)
