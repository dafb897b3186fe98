"""Interactions from files and databases, errors in them, and how they are split."""

import io
import sqlite3
import time
import tracemalloc
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.config import DataConfig, load_config
from {{ cookiecutter.package_name }}.data import _build_evaluation_histories, load
from {{ cookiecutter.package_name }}.datasets import movielens
from {{ cookiecutter.package_name }}.datasets.events import (
    InteractionReader,
    read_features,
)
from {{ cookiecutter.package_name }}.datasets.frames import read_chunks
from {{ cookiecutter.package_name }}.datasets.interactions import (
    HoldOut,
    Interactions,
    SplitPositions,
    find_duplicates,
    find_first_interactions,
    k_core,
    sort_interactions,
    split_interactions,
)
from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits

NOON = 1_700_000_000  # 2023-11-14 22:13:20
ROWS = [("a", "y", 20, 5.0), ("b", "x", 30, 4.0), ("a", "x", 10, 1.0), ("b", "z", 5, 3.0)]
SORTED = [("a", "x", 10, 1.0), ("a", "y", 20, 5.0), ("b", "z", 5, 3.0), ("b", "x", 30, 4.0)]
COLUMNS = ("user", "item", "timestamp", "rating")


def table(file: Path, rows: list, separator: str = ",", columns: tuple = COLUMNS) -> Path:
    lines = [separator.join(map(str, row)) for row in (columns, *rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def read(file: Path, **fields: Any) -> InteractionReader:
    data = DataConfig(path=str(file), **{"rating_column": "rating", **fields})
    return InteractionReader(data).extend(read_chunks(file), str(file))


def to_rows(log: Interactions) -> list[tuple]:
    """Return interactions as rows of user, item, time and weight."""
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    return list(zip(users, items, log.times.tolist(), log.weights.tolist(), strict=True))


def load_source(source: str, *words: str) -> DatasetSplits:
    return load(load_config(["--data.source", source, *words], environment={}))


def make_interactions(*rows: tuple[int, int, float]) -> Interactions:
    """Build interactions from ``(user, item, time)``."""
    users, items, times = (np.array(part) for part in zip(*rows, strict=True))
    ids = (np.array([str(n) for n in range(part.max() + 1)], object) for part in (users, items))
    return sort_interactions(users, items, times.astype(float), np.ones(len(users)), *ids)


def random_interactions(users: int = 40, size: int = 600, seed: int = 0) -> Interactions:
    draw = np.random.default_rng(seed)
    rows = zip(
        draw.integers(users, size=size),
        draw.integers(30, size=size),
        draw.integers(1000, size=size),
        strict=True,
    )
    return make_interactions(*rows)


# === Tables ===


@pytest.mark.parametrize(
    ("suffix", "separator"), [("csv", ","), ("csv", ";"), ("csv", "\t"), ("tsv", "\t")]
)
def test_text_tables(suffix: str, separator: str, own_folder: Path) -> None:
    file = table(own_folder / f"log.{suffix}", ROWS, separator)
    assert to_rows(read(file).interactions()) == SORTED
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert to_rows(read(file).interactions()) == SORTED, "as Excel saves it"


def test_parquet(own_folder: Path) -> None:
    file = own_folder / "log.parquet"
    frame = pd.DataFrame(ROWS, columns=list(COLUMNS))
    frame.astype({"user": "category"}).to_parquet(file)
    assert to_rows(read(file).interactions()) == SORTED


def test_other_columns_and_ids_as_text(own_folder: Path) -> None:
    rows = [("no", " 007 ", "NA", 1), ("no", "7", "é", 2)]
    file = table(own_folder / "log.csv", rows, columns=("more", "who", "what", "when"))
    fields = {"user_column": "who", "item_column": "what", "timestamp_column": "when"}
    log = read(file, **fields, rating_column=None).interactions()
    assert to_rows(log) == [("007", "NA", 1, 1), ("7", "é", 2, 1)]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_chunks_are_read_like_the_whole_file(
    kind: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = random_interactions()
    rows = [row for _, row in sorted(zip(np.argsort(log.items), to_rows(log), strict=True))]
    file = table(own_folder / "log.csv", rows)
    if kind == "parquet":
        pd.read_csv(file).to_parquet(file.with_suffix(".parquet"))
        file = file.with_suffix(".parquet")
    whole = read(file).interactions()
    monkeypatch.setattr("{{ cookiecutter.package_name }}.datasets.frames.CHUNK_ROWS", 7)
    reader = read(file)
    assert len(list(read_chunks(file))) == 86
    assert reader.rows == 600
    assert to_rows(reader.interactions()) == to_rows(whole)


@pytest.mark.parametrize(
    ("values", "times"),
    [
        (["5", "-1", "2.5e3"], [5, -1, 2500]),
        ([NOON, NOON * 1000, 0], [NOON, NOON * 1000, 0]),
        (
            ["2023-11-14", "2023-11-14 22:13:20", "2023-11-14T23:13:20.5+01:00"],
            [NOON - 80_000, NOON, NOON + 0.5],
        ),
    ],
)
def test_times(values: list, times: list, own_folder: Path) -> None:
    rows = [(f"u{n}", "x", value, 1) for n, value in enumerate(values)]
    assert read(table(own_folder / "log.csv", rows)).interactions().times.tolist() == times


def test_a_zero_among_dates_and_the_end_of_all_times(own_folder: Path) -> None:
    rows = [("a", "x", "0", 1), ("a", "y", "2023-11-14", 1), ("a", "z", "9999-12-31", 1)]
    reader = read(table(own_folder / "log.csv", rows), max_unreadable=0.5)
    assert reader.interactions().times.tolist() == [NOON - 80_000, 253_402_214_400]
    assert reader.unreadable == [("1", "timestamp is not a time")]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_of_parquet(zone: str | None, own_folder: Path) -> None:
    dates = pd.Series(pd.to_datetime([NOON, NOON + 0.5, None], unit="s", utc=True))
    frame = pd.DataFrame({"user": "a", "item": ["x", "y", "z"]})
    frame["timestamp"] = dates.dt.tz_convert(zone)
    frame.to_parquet(own_folder / "log.parquet")
    reader = read(own_folder / "log.parquet", rating_column=None, max_unreadable=0.5)
    assert to_rows(reader.interactions()) == [("a", "x", NOON, 1), ("a", "y", NOON + 0.5, 1)]
    assert reader.unreadable == [("3", "timestamp is not a time")]


@pytest.mark.parametrize("kind", ["float64", "Int64", "category"])
def test_ids_stay_whole_where_some_are_missing(kind: str, own_folder: Path) -> None:
    values = ["7", None, "8"] if kind == "category" else [7, None, 8]
    frame = pd.DataFrame({"user": pd.Series(values, dtype=kind), "item": ["x", "y", "z"]})
    frame["timestamp"] = pd.array([1, 2, 3], dtype="Int64")
    frame["rating"] = pd.array([1, 2, None], dtype="Int64")
    frame.set_index("item").to_parquet(own_folder / "log.parquet")
    reader = read(own_folder / "log.parquet", max_unreadable=1.0)
    assert to_rows(reader.interactions()) == [("7", "x", 1, 1)]
    assert reader.unreadable == [("2", "user is missing"), ("3", "rating is not a number")]


def test_fields_without_a_name_would_shift_the_others(own_folder: Path) -> None:
    file = table(own_folder / "log.csv", [(*row, "more") for row in ROWS])
    with pytest.raises(DataProblem, match="some rows have more fields than the header has names"):
        read(file)


def test_ties_in_time_keep_the_order_of_the_file(own_folder: Path) -> None:
    rows = [(f"u{n % 2}", f"i{(n * 37) % 101}", (n // 50) * 10, 1) for n in range(100)]
    log = read(table(own_folder / "log.csv", rows)).interactions()
    for user in ("u0", "u1"):
        expected = [item for name, item, _, _ in rows if name == user]
        assert [item for name, item, *_ in to_rows(log) if name == user] == expected


# === Errors ===


@pytest.mark.parametrize("missing", COLUMNS)
def test_missing_columns(missing: str, own_folder: Path) -> None:
    columns = [name if name != missing else "other" for name in COLUMNS]
    file = table(own_folder / "log.csv", ROWS, columns=columns)
    with pytest.raises(DataProblem) as problem:
        read(file)
    found = ", ".join(columns)
    assert str(problem.value) == f"{file}: there is no column {missing!r}; found: {found}."


def test_unusable_rows() -> None:
    rows = [
        *(("a", "x", 1, 2), ("", "x", 1, 2), ("a", None, 1, 2), ("a", "x", "soon", 2)),
        *(("a", "x", 1, "good"), ("a", "x", 1, None), ("a", "x", 1, "nan"), ("a", "x", 1, -0.5)),
        *(("a", "x", 1, "inf"), ("", " ", "", ""), ("a", "y", 2, 0)),
    ]
    reader = InteractionReader(DataConfig(rating_column="rating", max_unreadable=1.0))
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    reader.add(frame.iloc[:5], "")
    reader.add(frame.iloc[5:], "")
    assert reader.unreadable == [
        ("2", "user is missing"),
        ("3", "item is missing"),
        ("4", "timestamp is not a time"),
        ("5", "rating is not a number"),
        ("10", "user is missing"),
        ("6", "rating is not a number"),
        ("7", "rating is not a number"),
        ("9", "rating is not a number"),
        ("8", "rating is negative"),
    ]
    assert to_rows(reader.interactions()) == [("a", "x", 1, 2), ("a", "y", 2, 0)]


def test_low_ratings_have_no_weight(own_folder: Path) -> None:
    rows = [("a", "v", 1, -2), *(("a", item, 2, n) for n, item in enumerate("wxyz", start=1))]
    file = table(own_folder / "log.csv", [*rows, ("a", "q", 9, "")])
    reader = read(file, min_rating=3, max_unreadable=0.5)
    assert reader.interactions().weights.tolist() == [0, 0, 0, 1, 1]
    assert reader.unreadable == [("6", "rating is not a number")]


def test_too_many_unusable_rows(own_folder: Path) -> None:
    rows = [("a", f"i{n}", "" if n in (3, 7) else n, 1) for n in range(20)]
    file = table(own_folder / "log.csv", rows)
    assert len(read(file, max_unreadable=0.1).interactions()) == 18
    with pytest.raises(DataProblem) as problem:
        read(file, max_unreadable=0.09).interactions()
    assert str(problem.value) == (
        "data: 2 of 20 rows cannot be used, more than data.max_unreadable=0.09 allows; the "
        "first is row 4: timestamp is not a time."
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "{}: the file has no rows."),
        ("log.csv", b"user,item,timestamp,rating\n", "data: there are no interactions in '{}'."),
        ("log.csv", b"user,item\n\xff,x\n", "{}: not UTF-8: invalid start byte."),
        ("log.csv", b'user,item\n"a,x\n', "{}: Error tokenizing data."),
        ("log.parquet", b"PAR", "{}: not a parquet file: "),
    ],
)
def test_files_that_are_no_tables(
    name: str, content: bytes, message: str, own_folder: Path
) -> None:
    file = own_folder / name
    file.write_bytes(content)
    with pytest.raises(DataProblem) as problem:
        read(file).interactions()
    assert str(problem.value).startswith(message.format(file))


def test_the_future_in_milliseconds(own_folder: Path) -> None:
    rows = [(f"u{n % 10}", f"i{n % 13}", 1000 * (NOON + n), 1) for n in range(100)]
    rows += [("u1", "j", 1000 * (time.time() + 3 * 86_400), 1)]
    data = load_source("csv", "--data.path", str(table(own_folder / "log.csv", rows)))
    assert data.unreadable == (("u1 j", "the time lies in the future"),)


def test_spaces_in_a_header(own_folder: Path) -> None:
    file = own_folder / "log.csv"
    file.write_text("user, item ,timestamp\na, x,1\nb, y,2\n")
    assert read(file, rating_column=None).interactions().item_ids.tolist() == ["x", "y"]


def test_the_future_and_duplicates(own_folder: Path) -> None:
    rows = [(f"u{n % 10}", f"i{n % 13}", NOON + n, 1) for n in range(100)]
    rows += rows[5:8]
    rows += [("u1", "i1", time.time() + 3 * 86_400, 1)]
    data = load_source("csv", "--data.path", str(table(own_folder / "log.csv", rows)))
    assert data.unreadable == (("u1 i1", "the time lies in the future"),)
    assert data.duplicates == 3
    assert data.notes["interactions"] == 100
    numbers = [(user, item, n, 1) for n, (user, item, *_) in enumerate(rows[:100])]
    numbers[50] = (*numbers[50][:2], NOON * 1000, 1)
    data = load_source("csv", "--data.path", str(table(own_folder / "log.csv", numbers)))
    assert (data.unreadable, data.notes["interactions"]) == ((), 100), "numbers have no future"
    rows += [("u1", f"j{n}", time.time() + 3 * 86_400, 1) for n in range(9)]
    with pytest.raises(DataProblem, match="10 of 113 rows cannot be used"):
        load_source("csv", "--data.path", str(table(own_folder / "log.csv", rows)))


def test_paths_that_are_no_files(own_folder: Path) -> None:
    table(own_folder / "log.csv", ROWS)
    for source, words, message in (
        ("csv", [], "data.path: source 'csv' needs a file."),
        ("parquet", ["--data.path", "log.csv"], "data.path: 'log.csv' must end with .parquet."),
        ("csv", ["--data.path", "no.csv"], "data.path: 'no.csv' does not exist."),
    ):
        with pytest.raises(ProjectError) as problem:
            load_source(source, *words)
        assert str(problem.value) == message


def test_features(own_folder: Path) -> None:
    file = table(own_folder / "f.csv", [(" a ", "red", 1), ("b", "", 2)], columns=("id", "k", "n"))
    ids, columns = read_features(str(file), "id", "item_features")
    assert ids.tolist() == ["a", "b"]
    assert {name: values.tolist() for name, values in columns.items()} == {
        "k": ["red", ""],
        "n": ["1", "2"],
    }
    table(own_folder / "twice.csv", [("a", 1), ("a", 2)], columns=("id", "n"))
    for path, column, message in (
        ("no.csv", "id", "data.item_features: 'no.csv' is not a file."),
        ("f.csv", "item", "f.csv: there is no column 'item'; found: id, k, n."),
        ("twice.csv", "id", "twice.csv: 'a' occurs more than once in column 'id'."),
    ):
        with pytest.raises(DataProblem) as problem:
            read_features(path, column, "item_features")
        assert str(problem.value) == message


# === Selection ===


def test_first_interactions_of_each_pair() -> None:
    log = make_interactions((0, 0, 1), (0, 1, 2), (0, 0, 3), (1, 0, 2), (1, 0, 1))
    assert find_first_interactions(log).tolist() == [True, True, False, True, False]


def test_k_core_is_repeated() -> None:
    # Item 3 has one interaction; without it user 2 has one; without that item 2 has one, and so on.
    chain = [(2, 3, 1), (2, 2, 2), (1, 2, 3), (1, 1, 4)]
    square = [(user, item, 5) for user in (3, 4) for item in (4, 5)]
    core = k_core(make_interactions(*chain, *square, (3, 1, 6)), 2)
    assert sorted(to_rows(core)) == [(u, i, 5.0, 1.0) for u in ("3", "4") for i in ("4", "5")]
    log = random_interactions(users=100, size=800)
    for k in (1, 2, 3, 5):
        core = k_core(log, k)
        assert np.bincount(core.users).min() >= k
        assert np.bincount(core.items).min() >= k
        assert set(to_rows(core)) <= set(to_rows(log))
    assert k_core(log, 1) is log
    with pytest.raises(DataProblem) as problem:
        k_core(log, 50)
    assert str(problem.value) == (
        "data.min_interactions: no interactions are left when every user and item must have 50; "
        "choose a lower number."
    )


def test_duplicates_between_others_at_the_same_time() -> None:
    log = make_interactions((0, 0, 1), (0, 1, 1), (0, 0, 1), (0, 0, 2), (1, 0, 1))
    assert find_duplicates(log).tolist() == [False, False, True, False, False]


# === Splits ===


def training_mask(log: Interactions, parts: SplitPositions) -> np.ndarray:
    """Return a mask (interactions,) of the training split."""
    return np.arange(len(log)) < parts.train_ends[log.users]


def target_mask(log: Interactions, held: HoldOut) -> np.ndarray:
    """Return a mask (interactions,) of the targets of a held-out split."""
    mask = np.zeros(len(log), dtype=bool)
    for known, end in zip(held.target_starts, held.ends, strict=True):
        mask[known:end] = True
    return mask


def has_leak(log: Interactions, parts: SplitPositions) -> bool:
    """Return whether anything known or trained on is as late as a target of any user."""
    train, validation, test = (
        training_mask(log, parts),
        target_mask(log, parts.validation),
        target_mask(log, parts.test),
    )
    return bool(
        log.times[train].max() >= log.times[validation | test].min()
        or log.times[train | validation].max() >= log.times[test].min()
    )


def test_leave_one_out() -> None:
    log = random_interactions(users=200, size=600)
    parts = split_interactions(log, "last", 0.1, 0.2)
    counts = np.bincount(log.users)
    assert (counts < 3).sum() > 20, "users with nothing to hold out"
    for held, place in ((parts.validation, 2), (parts.test, 1)):
        assert held.users.tolist() == np.flatnonzero(counts >= 3).tolist()
        assert (held.ends - held.target_starts).tolist() == [1] * len(held.users)
        assert held.target_starts.tolist() == (log.user_offsets()[1:][held.users] - place).tolist()
    masks = (
        training_mask(log, parts),
        target_mask(log, parts.validation),
        target_mask(log, parts.test),
    )
    assert np.sum(masks, axis=0).tolist() == [1] * len(log), "each interaction is in one split"
    assert masks[0][np.isin(log.users, np.flatnonzero(counts < 3))].all()


def test_leave_one_out_needs_three_interactions() -> None:
    with pytest.raises(DataProblem) as problem:
        split_interactions(make_interactions((0, 0, 1), (0, 1, 2), (1, 0, 3)), "last", 0.1, 0.2)
    assert str(problem.value) == (
        "data.split: 'last' holds out two interactions of users with at least three, and no user "
        "has three; try --data.split time."
    )


def test_temporal_split_has_no_leak() -> None:
    log = random_interactions()
    parts = split_interactions(log, "time", 0.1, 0.2)
    assert not has_leak(log, parts)
    masks = (
        training_mask(log, parts),
        target_mask(log, parts.validation),
        target_mask(log, parts.test),
    )
    assert np.sum(masks, axis=0).tolist() == [1] * len(log), "each interaction is in one split"
    assert [round(mask.mean(), 1) for mask in masks] == [0.7, 0.1, 0.2]
    for held in (parts.validation, parts.test):
        assert (held.target_starts >= log.user_offsets()[held.users]).all()
        assert (held.ends > held.target_starts).all()


def test_leaks_are_detected() -> None:
    log = random_interactions()
    parts = split_interactions(log, "time", 0.1, 0.2)
    user = parts.validation.users[0]
    train_ends = parts.train_ends.copy()
    train_ends[user] += 1  # one interaction too many of one user
    assert has_leak(log, SplitPositions(train_ends, parts.validation, parts.test))
    assert has_leak(log, split_interactions(log, "last", 0.1, 0.2)), (
        "'last' evaluates each user at another time"
    )


def test_temporal_split_of_histories(own_folder: Path) -> None:
    file = table(own_folder / "log.csv", to_rows(random_interactions()))
    words = ["--data.path", str(file), "--data.repeats", "keep", "--data.split", "time"]
    data = load_source("csv", *words, "--data.max_history", "4")
    times = {
        name: [
            split.interactions.times[k:e]
            for k, e in zip(split.target_starts, split.ends, strict=True)
        ]
        for name, split in data.splits.items()
    }
    first, last = (
        {name: extreme(np.concatenate(parts)) for name, parts in times.items()}
        for extreme in (np.min, np.max)
    )
    assert last["train"] < first["validation"]
    assert last["validation"] < first["test"]
    for name, split in data.splits.items():
        for begin, known in zip(split.history_starts, split.target_starts, strict=True):
            assert name == "train" or (split.interactions.times[begin:known] < first[name]).all()


def test_targets_are_not_padded_to_the_busiest_user() -> None:
    # 2,000 users with an interaction a day, and one with 20,000: a matrix of targets as wide as
    # that would take 60 MB.
    users = np.concatenate([np.repeat(np.arange(2_000), 10), np.full(20_000, 2_000)])
    times = np.concatenate([np.tile(np.arange(10.0), 2_000), np.linspace(0, 9, 20_000)])
    items = np.arange(len(users)) % 500
    ids = (np.arange(count).astype(str).astype(object) for count in (2_001, 500))
    log = sort_interactions(users, items, times, np.ones(len(users)), *ids)
    parts = split_interactions(log, "time", 0.2, 0.2)
    tracemalloc.start()
    split = _build_evaluation_histories(log, parts.test, 50, {})
    positions = split.target_positions
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6
    assert len(positions) == sum(map(len, split.targets)) > 4_000
    np.testing.assert_array_equal(log.item_ids[log.items[positions]], np.concatenate(split.targets))
    assert split.fetch(np.array([len(split) - 1]))["next_items"].shape == (1, 50), (
        "at most max_history"
    )


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("", True),
        ("--data.test_fraction 0.3", False),
        ("--data.validation_fraction 0.3", False),
        ("--data.split last", False),
        ("--data.max_history 9", False),
        ("--data.repeats keep", False),
        ("--data.split_seed 7", False),
        ("--data.limit 30", False),
    ],
)
def test_digest_depends_on_the_split(words: str, same: bool, own_folder: Path) -> None:
    file = table(own_folder / "log.csv", to_rows(random_interactions()))
    given = ["--data.path", str(file), "--data.limit", "35", "--data.split", "time"]
    usual = load_source("csv", *given).digest
    assert (load_source("csv", *given, *words.split()).digest == usual) is same


def test_digest_depends_on_features(own_folder: Path) -> None:
    file, items = (
        table(own_folder / "log.csv", to_rows(random_interactions())),
        own_folder / "items.csv",
    )
    given = ["--data.path", str(file)]
    digests = {load_source("csv", *given).digest}
    for colour in ("red", "blue"):
        table(items, [(number, colour) for number in range(30)], columns=("item", "colour"))
        digests.add(load_source("csv", *given, "--data.item_features", str(items)).digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("times", "period"),
    [
        ([0] * 90 + [1] * 10, "training"),
        ([0] * 50 + [1] * 50, "validation"),
    ],
)
def test_empty_periods(times: list[int], period: str) -> None:
    log = make_interactions(*((n % 7, n % 5, when) for n, when in enumerate(times)))
    with pytest.raises(DataProblem) as problem:
        split_interactions(log, "time", 0.1, 0.2)
    assert str(problem.value) == (
        f"data.split: the {period} period is empty; most interactions have the same time, or "
        "data.validation_fraction and data.test_fraction are too small."
    )


# === Databases ===


def database(folder: Path) -> str:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("create table orders (customer integer, sku text, day text, qty real)")
        rows = [(n % 9, f"s{n % 11}", f"2024-01-{1 + n // 9:02}", n % 4) for n in range(90)]
        rows += [(None, "s1", "2024-01-02", 1)]
        connection.executemany("insert into orders values (?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{folder / 'shop.db'}"


def test_sql(own_folder: Path) -> None:
    query = "select customer as user, sku as item, day as timestamp from orders where qty > 0"
    words = ["--data.path", database(own_folder), "--data.repeats", "keep"]
    data = load_source("sql", *words, "--data.query", query + " and customer is not null")
    assert (data.notes["users"], data.notes["items"], data.notes["interactions"]) == (9, 11, 67)
    assert sorted(data.test.ids) == [str(n) for n in range(9)]
    assert data.train.interactions.times.min() == pd.Timestamp("2024-01-01").timestamp()
    words += ["--data.rating_column", "qty"]
    data = load_source("sql", *words, "--data.query", query.replace(" from", ", qty from"))
    assert sorted(set(data.train.interactions.weights.tolist())) == [1, 2, 3]
    assert data.unreadable == (("68", "user is missing"),)
    assert sorted(data.test.ids) == [str(n) for n in range(9)]


@pytest.mark.parametrize(
    ("path", "query", "message", "kind"),
    [
        (None, "select 1", "data.source: sql needs data.path", UsageProblem),
        ("sqlite:///shop.db", None, "data.source: sql needs data.path", UsageProblem),
        ("nonsense", "select 1", "data.path: cannot open the database: ", UsageProblem),
        ("oddsql://host/db", "select 1", "data.path: cannot open the database: ", UsageProblem),
        (
            "sqlite:///shop.db",
            "select\nx",
            "data.query: the database refuses it: (sqlite3.OperationalError) no such column: x",
            DataProblem,
        ),
        (
            "sqlite:///shop.db",
            "select customer as user from orders",
            "data.query: there is no column 'item'; found: user.",
            DataProblem,
        ),
        (
            "sqlite:///shop.db",
            "select customer as user, sku as item, day as timestamp from orders where false",
            "data: there are no interactions in 'sqlite:///shop.db'.",
            DataProblem,
        ),
    ],
)
def test_sql_errors(
    path: str | None, query: str | None, message: str, kind: type, own_folder: Path
) -> None:
    database(own_folder)
    words = ["--data.path", path] if path else []
    words += ["--data.query", query] if query else []
    with pytest.raises(kind) as problem:
        load_source("sql", *words)
    assert type(problem.value) is kind
    assert str(problem.value).startswith(message)


# === MovieLens ===

RATINGS = [(u, m, 1 + (u + m) % 5, NOON + 60 * u + m) for u in (1, 2, 3) for m in (1, 2, 3, 4)]
TITLES = {1: "Toy Story", 2: "Misérables, Les", 3: "Up | Away", 4: "Speed"}


def movie_files(name: str) -> dict[str, str]:
    """Return the files of a small dataset in one of the formats."""
    if name == "latest-small":
        titles = [f'{n},"{title}",Drama|Comedy' for n, title in TITLES.items()]
        return {
            "ratings.csv": lines(["userId,movieId,rating,timestamp"], RATINGS, ","),
            "movies.csv": lines(["movieId,title,genres", *titles]),
        }
    if name == "100k":
        kinds = [int(g in ("Drama", "Comedy")) for g in movielens.GENRES]
        movies = [(n, t.replace("|", "/"), "", "", "", *kinds) for n, t in TITLES.items()]
        return {
            "u.data": lines([], RATINGS, "\t"),
            "u.user": lines([], [(u, 30 + u, "F", "writer", "0123") for u in (1, 2, 3)], "|"),
            "u.item": lines([], movies, "|"),
        }
    return {
        "ratings.dat": lines([], RATINGS, "::"),
        "users.dat": lines([], [(u, "F", 25, 20, "0123") for u in (1, 2, 3)], "::"),
        "movies.dat": lines([], [(n, t, "Drama|Comedy") for n, t in TITLES.items()], "::"),
    }


def lines(first: list[str], rows: list[tuple] = (), between: str = "") -> str:
    return "\n".join([*first, *(between.join(map(str, row)) for row in rows)]) + "\n"


def encode_files(name: str) -> dict[str, bytes]:
    encoding = "utf-8" if name == "latest-small" else "latin-1"
    return {file: text.encode(encoding) for file, text in movie_files(name).items()}


def archive(name: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for file, content in {**files, "README.txt": b"more"}.items():
            opened.writestr(f"ml-{name}/{file}", content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["latest-small", "100k", "1m"])
def test_movielens(name: str, own_folder: Path) -> None:
    for file, content in encode_files(name).items():
        (own_folder / file).write_bytes(content)
    data = load_source(
        f"movielens:{name}", "--data.path", str(own_folder), "--data.min_rating", "2"
    )
    assert (data.notes["users"], data.notes["items"], data.notes["interactions"]) == (3, 4, 12)
    log = data.train.interactions
    liked = {(str(u), str(m)): float(rating >= 2) for u, m, rating, _ in RATINGS}
    assert {(user, item): weight for user, item, _, weight in to_rows(log)} == liked
    assert log.times.min() == NOON + 61
    genres = "Comedy|Drama" if name == "100k" else "Drama|Comedy"
    movies = data.train.item_features.lookup(np.array(["2", "9"]))
    assert {name: values.tolist() for name, values in movies.items()} == {"genres": [genres, ""]}
    users = data.train.user_features
    assert (users and {name: values[0] for name, values in users.columns.items()}) == {
        "latest-small": None,
        "100k": {"age": "31", "gender": "F", "occupation": "writer"},
        "1m": {"gender": "F", "age": "age 25", "occupation": "job 20"},
    }[name]
    (own_folder / next(iter(encode_files(name)))).unlink()
    with pytest.raises(DataProblem, match=r"^data.path: '.*' has no file "):
        load_source(f"movielens:{name}", "--data.path", str(own_folder))


def test_movielens_is_downloaded_once(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        addresses.append(address)
        return io.BytesIO(archive("latest-small", encode_files("latest-small")))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    for _ in range(2):
        assert load_source("movielens:latest-small").notes["interactions"] == 12
    assert addresses == ["https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"]
    kept = own_folder / ".cache" / "ml-latest-small"
    assert sorted(file.name for file in kept.iterdir()) == ["movies.csv", "ratings.csv"]
    assert list(kept.parent.iterdir()) == [kept], "no temporary files"


def test_damaged_downloads(own_folder: Path) -> None:
    folder = own_folder / "cache" / "ml"
    with pytest.raises(DataProblem) as problem:
        movielens.extract(b"something else", "100k", folder)
    assert str(problem.value) == (
        "data.source: the download of 'movielens:100k' has the checksum "
        "6c7ba9c5a141421e1c03cb9807c97c74, not 0e33842e24a9c977be4e0107933c0723."
    )
    for content, reason in (
        (b"something else", "File is not a zip file"),
        (archive("latest-small", {"ratings.csv": b""}), "ml-latest-small/movies.csv"),
    ):
        with pytest.raises(DataProblem) as problem:
            movielens.extract(content, "latest-small", folder)
        assert str(problem.value).startswith("data.source: the download of 'movielens:latest-")
        assert reason in str(problem.value)
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route"), ConnectionResetError("no route")]
)
def test_without_a_network(
    error: Exception, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ProjectError) as problem:
        load_source("movielens:100k")
    assert problem.value.exit_code == 1
    assert str(problem.value) == (
        f"data.source: cannot download 'movielens:100k' ({error}); connect to the network once, "
        "or set data.path to a folder with its files."
    )
