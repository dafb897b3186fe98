"""Inspect a table of interactions and propose the ``data`` fields to train with."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import Config, DataConfig
from ..datasets.events import InteractionReader
from ..datasets.frames import read_chunks
from ..datasets.interactions import (
    Interactions,
    find_duplicates,
    find_first_interactions,
    k_core,
    select,
    split_interactions,
)
from ..engine.errors import DataProblem
from ..engine.findings import Findings
from ..engine.inspection.columns import find_named, format_counts

SUFFIXES = (".csv", ".tsv", ".parquet")
USER_NAMES = (
    *("user", "customer", "client", "member", "visitor", "reviewer", "account", "shopper"),
    *("buyer", "person", "device", "session", "u"),  # u: of uid
)
ITEM_NAMES = (
    *("item", "product", "movie", "article", "sku", "asin", "isbn", "stock", "track", "song"),
    *("book", "video", "film", "game", "anime", "recipe", "listing", "business", "content", "news"),
    *("page", "artist", "i"),  # i: of iid
)
TIME_NAMES = ("timestamp", "datetime", "time", "ts", "date", "created", "day", "unix")
RATING_NAMES = (
    *("rating", "score", "stars", "overall", "quantity", "qty", "weight", "plays", "count"),
)
COLUMNS = {
    "user_column": "users",
    "item_column": "items",
    "timestamp_column": "times",
    "rating_column": "ratings",
}
PROBED_ROWS = 10_000  # rows that tell what a column holds
MIN_VALID = 0.8  # share of a column's values that must fit what it is taken for
MAX_LISTED = 12  # different values of an unused column that are listed
MISSING = {"na", "nan", "null", "none", "nil", "undefined", "unknown", "anonymous", "guest", "-"}
# Times count one of these units since 1970 if their median lies between 1990 and 2100.
UNITS = {"seconds": 1, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
SINCE, UNTIL = 631_152_000, 4_102_444_800
DAY = 86_400
# Users are suspected to be bots by their number of interactions (at least BOT_MIN, and BOT_RATIO
# times those of 95 % of the users), by interactions at the same time, or by many at regular gaps.
BOT_MIN, BOT_RATIO = 1000, 20
BOT_AT_ONCE = 200
BOT_REGULAR, REGULAR_SHARE = 200, 0.9
SPARSE = 3  # mean interactions of a user or an item


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Inspect a table (csv, tsv, parquet) with a row for each interaction.

    Args:
        config: values of the given fields.
        given: names of the ``data`` fields that the user has set; the others are guessed.

    Raises:
        DataProblem: it is no such table, has no rows, or no column looks like users, items or
            times.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(
            f"PATH: {str(path)!r} is not a file that ends with {_join_alternatives(SUFFIXES)}."
        )
    findings = Findings()
    chunks = (chunk for chunk in read_chunks(path) if len(chunk))
    head = next(chunks, None)
    if head is None:
        raise DataProblem(f"PATH: {str(path)!r} has no rows.")
    columns = _assign_columns(head, config.data, given, findings)
    kind = path.suffix.removeprefix(".")
    findings.fields |= {"source": "parquet" if kind == "parquet" else "csv", "path": str(path)}
    findings.fields |= columns
    for name in DataConfig.model_fields:
        if name in given:
            findings.fields.setdefault(name, getattr(config.data, name))
    # Read every row, whatever its rating; unusable ones are reported below.
    fields = {"rating_column": None} | columns | {"min_rating": None, "max_unreadable": 1.0}
    reader = InteractionReader(config.data.model_copy(update=fields))
    interactions = reader.extend(chain([head], chunks), str(path)).interactions()
    findings.add_fact("file", f"{reader.rows} rows, {kind}")
    _report_columns(head, columns, findings)
    if reader.rows > len(head):
        findings.add_fact("columns", f"counted in the first {len(head)} rows")
    are_dates = _are_dates(head[columns["timestamp_column"]])
    interactions = _drop_future(interactions, are_dates, findings)
    _report_unusable_rows(reader, len(interactions), config.data, given, findings)
    if len(interactions) == 0:
        _, reason = reader.unreadable[0]
        raise DataProblem(f"PATH: none of the {reader.rows} rows can be used: {reason}.")
    _report_interactions(interactions, findings)
    if "rating_column" in columns:
        _report_ratings(interactions.weights, columns["rating_column"], findings)
    _report_suspects(interactions, findings)
    interactions = _drop_duplicates(interactions, config.data, given, findings)
    _choose_split(interactions, config.data, given, findings)
    return findings


# === Columns ===


def _assign_columns(
    head: pd.DataFrame, data: DataConfig, given: set[str], findings: Findings
) -> dict[str, str]:
    """Assign a column to each ``data`` field: as given, else by name, else by its values.

    Args:
        head: the first rows of the table.

    Raises:
        DataProblem: a given column is missing, or no column fits.
    """
    columns = {}
    for field in COLUMNS:
        name = getattr(data, field)
        if field in given and name is not None:
            if name not in head:
                found = ", ".join(map(str, head.columns))
                raise DataProblem(f"data.{field}: there is no column {name!r}; found: {found}.")
            columns[field] = name

    def free() -> pd.DataFrame:
        return head.drop(columns=list(dict.fromkeys(columns.values())))

    for field, names in (("user_column", USER_NAMES), ("item_column", ITEM_NAMES)):
        if matches := _match_names(free(), names):
            columns.setdefault(field, matches[0])
    if "timestamp_column" not in columns:
        columns["timestamp_column"] = _find_time_column(free(), head)
    numeric = [name for name in _match_names(free(), RATING_NAMES) if _is_numeric(head[name])]
    if numeric and "rating_column" not in given:
        columns["rating_column"] = numeric[0]
    missing = [field for field in ("user_column", "item_column") if field not in columns]
    for field, name in zip(missing, _find_id_columns(free(), missing, head), strict=True):
        columns[field] = name
        findings.warn(
            f"column {name!r} is taken for the {COLUMNS[field]} because of its values; set another "
            f"with --data.{field}."
        )
    return {field: columns[field] for field in COLUMNS if field in columns}


def _match_names(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Find columns with one of the names, such as ``user``, ``userId`` or ``USER_ID``, then those
    that contain one as a word."""
    columns: dict[str, str] = {}  # normalised name -> column
    for column in map(str, frame.columns):
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()
        words = (word.removesuffix("id") for word in re.split(r"[^a-z]+", spaced))
        key = " ".join(word for word in words if word not in ("", "code", "key"))
        columns.setdefault(key, column)
    return [columns[name] for name in find_named(list(columns), *names)]


def _find_time_column(free: pd.DataFrame, head: pd.DataFrame) -> str:
    """Find the unassigned column of times: by name, else dates, else numbers since 1970.

    Raises:
        DataProblem: there is none.
    """
    usable = {}
    for name in free:
        values = _probe(free[name])
        times = _parse_times(values)
        if len(values) and len(times) >= MIN_VALID * len(values):
            usable[name] = times
    by_name = [name for name in _match_names(free, TIME_NAMES) if name in usable]
    dates = [name for name in usable if _are_dates(free[name])]
    numbers = [name for name, times in usable.items() if _guess_unit(times)]
    for name in by_name + dates + numbers:
        return name
    found = ", ".join(f"{name} ({_first_value(head[name])!r})" for name in head)
    raise DataProblem(
        "PATH: no column looks like times, which are numbers or dates such as 2024-01-31 12:00; "
        f"found: {found}. Set one with --data.timestamp_column."
    )


def _find_id_columns(free: pd.DataFrame, fields: list[str], head: pd.DataFrame) -> list[str]:
    """Find an unassigned column for each field: those with the most different values that repeat,
    in the order of the table.

    Raises:
        DataProblem: there are too few of them.
    """
    distinct = {name: head[name].astype(str).nunique() for name in head}
    repeating = [
        name for name in free if 2 <= distinct[name] < len(head) and not _has_fractions(head[name])
    ]
    if len(repeating) < len(fields):
        field = fields[len(repeating)]
        found = ", ".join(f"{name} ({count} different values)" for name, count in distinct.items())
        raise DataProblem(
            f"PATH: no column looks like {COLUMNS[field]}; found: {found}. Set one with "
            f"--data.{field}."
        )
    most_distinct = sorted(repeating, key=lambda name: -distinct[name])[: len(fields)]
    return sorted(most_distinct, key=list(head).index)


def _probe(values: pd.Series) -> pd.Series:
    """Return the first values that are not missing."""
    values = values.head(PROBED_ROWS).dropna()
    return values[values.astype(str).str.strip() != ""]


def _first_value(values: pd.Series) -> str:
    return next(iter(_probe(values).astype(str)), "")


def _parse_times(values: pd.Series) -> np.ndarray:
    """Return the values that training can parse as times."""
    column = dict.fromkeys(("user_column", "item_column", "timestamp_column"), "x")
    reader = InteractionReader(DataConfig(**column, max_unreadable=1.0))
    reader.add(values.to_frame("x"), "")
    return reader.interactions().times if len(values) else np.zeros(0)


def _parse_numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(_probe(values).astype(str), errors="coerce").to_numpy("float64")


def _is_numeric(values: pd.Series) -> bool:
    numbers = _parse_numbers(values)
    return len(numbers) > 0 and bool(np.isfinite(numbers).mean() >= MIN_VALID)


def _has_fractions(values: pd.Series) -> bool:
    numbers = _parse_numbers(values)
    return bool(np.any(np.isfinite(numbers) & (numbers != np.floor(numbers))))


def _are_dates(values: pd.Series) -> bool:
    """Return whether values are dates rather than numbers."""
    numbers = _parse_numbers(values)
    return len(numbers) > 0 and not np.isfinite(numbers).any()


def _report_columns(head: pd.DataFrame, columns: dict[str, str], findings: Findings) -> None:
    for name in head:
        values = head[name].fillna("").astype(str).str.strip()
        used = " and ".join(COLUMNS[field] for field in columns if columns[field] == name)
        distinct, empty = values[values != ""].nunique(), int((values == "").sum())
        text = f"{f'the {used}' if used else 'not used'}; {distinct} different values"
        text += f", {empty} empty" if empty else ""
        if not used and distinct <= MAX_LISTED:
            text += f": {format_counts(Counter(values))}"
        findings.add_fact(f"column {name}", text)


# === Interactions ===


def _drop_future(interactions: Interactions, are_dates: bool, findings: Findings) -> Interactions:
    """Report the time span, and drop interactions in the future where training drops them.

    Args:
        are_dates: the column holds dates, so that the times are in seconds since 1970.
    """
    if len(interactions) == 0:
        return interactions
    unit = "seconds" if are_dates else _guess_unit(interactions.times)
    kind = "dates" if are_dates else f"{unit} since 1970" if unit else "numbers"
    now, times = time.time(), interactions.times / UNITS.get(unit, 1)
    late = (times > now + DAY) & bool(unit)
    # The same rule as in data.py: times that mostly lie in the future are not trusted as dates.
    drops = unit == "seconds" and SINCE < np.median(times) < now
    if late.any():
        findings.warn(
            f"{late.sum()} interactions lie in the future, the last at "
            f"{_format_date(times.max())}{'; they are dropped' if drops else ''}."
        )
        if drops:
            interactions, times = select(interactions, ~late), times[~late]
    early = times < SINCE
    if unit and early.any() and np.median(times) > SINCE:
        findings.warn(
            f"{early.sum()} interactions lie before 1990, the first at "
            f"{_format_date(times.min())}; their times may be missing."
        )
    shown = _format_date if unit else "{:g}".format
    findings.add_fact("times", f"{shown(times.min())} to {shown(times.max())}, {kind}")
    if times.min() == times.max():
        findings.warn("all interactions have the same time; training will refuse this table.")
    return interactions


def _guess_unit(times: np.ndarray) -> str:
    """Return the unit in which times count since 1970; '' for other numbers."""
    median = np.median(times)
    return next((unit for unit, per in UNITS.items() if SINCE <= median / per < UNTIL), "")


def _format_date(seconds: float) -> str:
    return str(np.datetime64(int(seconds // 60), "m")).replace("T", " ")


def _report_unusable_rows(
    reader: InteractionReader,
    usable: int,
    data: DataConfig,
    given: set[str],
    findings: Findings,
) -> None:
    """Report why rows cannot be used; raise ``data.max_unreadable`` where they are too many.

    Args:
        usable: number of rows that can be used.
    """
    first_row = {reason: row for row, reason in reversed(reader.unreadable)}
    for reason, count in Counter(reason for _, reason in reader.unreadable).items():
        findings.warn(f"{count} rows cannot be used: {reason}, first in row {first_row[reason]}.")
    unusable = reader.rows - usable
    if unusable > data.max_unreadable * reader.rows:
        share = unusable / reader.rows
        if "max_unreadable" in given:
            findings.warn(
                f"{share:.0%} of the rows cannot be used, more than max_unreadable allows; "
                "training will refuse this table."
            )
        else:
            findings.warn(f"{share:.0%} of the rows cannot be used; max_unreadable is raised.")
            findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))


def _report_interactions(interactions: Interactions, findings: Findings) -> None:
    per_user, per_item = np.bincount(interactions.users), np.bincount(interactions.items)
    users, items, total = len(per_user), len(per_item), len(interactions)
    findings.add_fact("users", str(users))
    findings.add_fact(
        "items", f"{items}, {np.sum(per_item == 1)} of them with a single interaction"
    )
    findings.add_fact("interactions", f"{total}, {total / (users * items):.2%} of all pairs")
    median, most, maximum = (int(np.quantile(per_user, q)) for q in (0.5, 0.95, 1.0))
    findings.add_fact("per user", f"median {median}, 95th percentile {most}, maximum {maximum}")
    ordered = np.sort(per_item)[::-1]
    shares = [ordered[: max(1, round(items * top))].sum() / total for top in (0.01, 0.1)]
    findings.add_fact(
        "popularity",
        f"the top 1% of the items have {shares[0]:.0%} of the interactions, the top 10% have "
        f"{shares[1]:.0%}",
    )
    for count, things in ((users, "user"), (items, "item")):
        if count == 1:
            findings.warn(f"there is only one {things}; a model has nothing to learn.")
    if min(users, items) > 1 and total < SPARSE * max(users, items):
        findings.warn(
            f"the data is very sparse: {total / users:.1f} interactions per user and "
            f"{total / items:.1f} per item on average; --data.min_interactions drops rare ones."
        )


def _report_ratings(ratings: np.ndarray, column: str, findings: Findings) -> None:
    values, counts = np.unique(ratings, return_counts=True)
    shown = [f"{values[i]:g} {counts[i] / len(ratings):.0%}" for i in np.argsort(-counts)[:5]]
    findings.add_fact("ratings", f"{values[0]:g} to {values[-1]:g}, mostly {', '.join(shown)}")
    zeros, median = np.mean(ratings == 0), np.median(ratings)
    if zeros > 0.5:
        findings.warn(
            f"{zeros:.0%} of {column!r} are 0; such interactions are never a target. Unset "
            "rating_column to count all alike."
        )
    elif values[-1] > 100 * median:
        findings.warn(
            f"{column!r} has median {median:g} and maximum {values[-1]:g}, and weighs interactions "
            "by that. Unset rating_column to count all alike."
        )


def _report_suspects(interactions: Interactions, findings: Findings) -> None:
    """Warn of ids that look like missing values, and of users that look like bots."""
    for ids, numbers, things in (
        (interactions.user_ids, interactions.users, "user"),
        (interactions.item_ids, interactions.items, "item"),
    ):
        for number in (i for i, name in enumerate(ids) if name.lower() in MISSING):
            findings.warn(
                f"{things} {ids[number]!r} has {np.sum(numbers == number)} interactions; it looks "
                "like a missing value."
            )
    bots = dict(_find_bots(interactions))
    if bots:
        user_ids = interactions.user_ids
        shown = [f"{user_ids[user]!r} ({reason})" for user, reason in list(bots.items())[:3]]
        more = f" and {len(bots) - 3} more" if len(bots) > 3 else ""
        findings.warn(
            f"users that may be bots: {', '.join(shown)}{more}; training does not exclude them."
        )


def _find_bots(interactions: Interactions) -> Iterator[tuple[int, str]]:
    """Yield numbers of users and why they look like bots; a user may come several times."""
    offsets, times = interactions.user_offsets(), interactions.times
    counts = np.diff(offsets)
    if unit := _guess_unit(times):
        for user in np.flatnonzero(counts >= BOT_REGULAR):
            gaps = np.diff(times[offsets[user] : offsets[user + 1]]).round(3)
            values, occurrences = np.unique(gaps, return_counts=True)
            mode = occurrences.argmax()
            if values[mode] > 0 and occurrences[mode] >= REGULAR_SHARE * len(gaps):
                gap = values[mode] / UNITS[unit]
                yield int(user), f"{occurrences[mode]} times a gap of {gap:g} seconds"
    # Runs of the same user and time.
    changes = np.r_[True, (np.diff(interactions.users) != 0) | (np.diff(times) != 0), True]
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts)
    for run in np.flatnonzero(lengths >= BOT_AT_ONCE):
        yield int(interactions.users[starts[run]]), f"{lengths[run]} interactions at the same time"
    most = max(BOT_MIN, BOT_RATIO * np.quantile(counts, 0.95))
    for user in np.flatnonzero(counts > most):
        yield int(user), f"{counts[user]} interactions"


# === Preparation for training ===


def _drop_duplicates(
    interactions: Interactions, data: DataConfig, given: set[str], findings: Findings
) -> Interactions:
    """Drop duplicates, and repeats unless they are most of the interactions."""
    duplicates = find_duplicates(interactions)
    findings.add_fact("duplicates", f"{duplicates.sum()} with the same user, item and time")
    interactions = select(interactions, ~duplicates)
    first = find_first_interactions(interactions)
    share = np.mean(~first)
    repeats = data.repeats if "repeats" in given else "keep" if share > 0.5 else "drop"
    findings.add_fact(
        "repeats",
        f"{np.sum(~first)} ({share:.0%}) of a user with the same item again; "
        f"{'all count' if repeats == 'keep' else 'only the first counts'}",
    )
    if repeats == "keep":
        findings.fields["repeats"] = repeats
        return interactions
    return select(interactions, first)


def _choose_split(
    interactions: Interactions, data: DataConfig, given: set[str], findings: Findings
) -> None:
    """Report users with too few interactions, and split by time where all users have too few."""
    counts = np.bincount(interactions.users)
    few = counts < 3
    findings.add_fact("short histories", f"{few.sum()} of {len(counts)} users have fewer than 3")
    if 0.5 < few.mean() < 1:
        findings.warn(
            f"{few.mean():.0%} of the users have fewer than 3 interactions; the split 'last' does "
            "not evaluate them."
        )
    if interactions.times.min() == interactions.times.max():
        return
    problems = []
    for split in [data.split] if "split" in given else ["last", "time"]:
        try:
            frequent = k_core(interactions, data.min_interactions)
            split_interactions(frequent, split, data.validation_fraction, data.test_fraction)
        except DataProblem as problem:
            problems.append(str(problem))
        else:
            if problems:
                findings.fields["split"] = split
                findings.warn("no user has three interactions; split is set to time.")
            return
    findings.warn(f"training will refuse this table: {problems[-1]}")


def _join_alternatives(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
