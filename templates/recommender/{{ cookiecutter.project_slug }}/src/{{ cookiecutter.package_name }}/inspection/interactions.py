"""What can be seen of a log before anything is trained."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import Config, DataConfig
from ..datasets.events import Reader, concatenated
from ..datasets.frames import parts_of
from ..datasets.interactions import Log, divided, first_of_each, k_core, kept, twice
from ..engine.errors import DataProblem
from ..engine.findings import Findings, find_named, format_counts

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
TRIED = 10_000  # rows that tell what a column holds
MOSTLY = 0.8  # share of a column's values that must be what it is taken for
FEW_VALUES = 12  # different values that are shown
MISSING = {"na", "nan", "null", "none", "nil", "undefined", "unknown", "anonymous", "guest", "-"}
# Times count one of these since 1970 if their middle is between 1990 and 2100.
UNITS = {"seconds": 1, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
SINCE, UNTIL = 631_152_000, 4_102_444_800
DAY = 86_400
# A user is taken for a bot with that many events, times those of nearly all others; or with that
# many at the same time; or that many, nearly all at the same gap.
BOT_EVENTS, BOT_TIMES = 1000, 20
BOT_AT_ONCE = 200
BOT_REGULAR, REGULAR = 200, 0.9
SPARSE = 3  # mean events of a user or an item


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Look at a table (csv, tsv, parquet) with a row for each event.

    Args:
        config: what it should not guess.
        given: names of the ``data`` fields that are not to be guessed.

    Raises:
        DataProblem: it is no such table, has no rows, or no column looks like users, items or
            times.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(f"PATH: {str(path)!r} is no file that ends with {_either(SUFFIXES)}.")
    findings = Findings()
    parts = (part for part in parts_of(path) if len(part))
    head = next(parts, None)
    if head is None:
        raise DataProblem(f"PATH: {str(path)!r} has no rows.")
    chosen = _columns(head, config.data, given, findings)
    kind = path.suffix.removeprefix(".")
    findings.fields |= {"source": "parquet" if kind == "parquet" else "csv", "path": str(path)}
    findings.fields |= chosen
    for name in DataConfig.model_fields:
        if name in given:
            findings.fields.setdefault(name, getattr(config.data, name))
    everything = {"rating_column": None} | chosen | {"least_rating": None, "max_unreadable": 1.0}
    reader = Reader(config.data.model_copy(update=everything))
    log = concatenated(chain([head], parts), reader, str(path)).log()
    findings.add_fact("file", f"{reader.rows} rows, {kind}")
    _describe(head, chosen, findings)
    if reader.rows > len(head):
        findings.add_fact("columns", f"counted in the first {len(head)} rows")
    log = _in_time(log, _dates(head[chosen["timestamp_column"]]), findings)
    _look_at_unusable(reader, len(log), config.data, given, findings)
    if len(log) == 0:
        _, reason = reader.unreadable[0]
        raise DataProblem(f"PATH: none of the {reader.rows} rows can be used: {reason}.")
    _look_at(log, findings)
    if "rating_column" in chosen:
        _look_at_ratings(log.weights, chosen["rating_column"], findings)
    _look_at_people(log, findings)
    _divide(_cleaned(log, config.data, given, findings), config.data, given, findings)
    return findings


# === Columns ===


def _columns(
    head: pd.DataFrame, data: DataConfig, given: set[str], findings: Findings
) -> dict[str, str]:
    """``data`` field -> column: what is given, what is named so, then what holds such values."""
    chosen = {}
    for field in COLUMNS:
        wish = getattr(data, field)
        if field in given and wish is not None:
            if wish not in head:
                found = ", ".join(map(str, head.columns))
                raise DataProblem(f"data.{field}: there is no column {wish!r}; found: {found}.")
            chosen[field] = wish

    def free() -> pd.DataFrame:
        return head.drop(columns=list(dict.fromkeys(chosen.values())))

    for field, names in (("user_column", USER_NAMES), ("item_column", ITEM_NAMES)):
        if named := _named(free(), names):
            chosen.setdefault(field, named[0])
    if "timestamp_column" not in chosen:
        chosen["timestamp_column"] = _time_column(free(), head)
    numbers = [name for name in _named(free(), RATING_NAMES) if _is_number(head[name])]
    if numbers and "rating_column" not in given:
        chosen["rating_column"] = numbers[0]
    missing = [field for field in ("user_column", "item_column") if field not in chosen]
    for field, name in zip(missing, _ids_in(free(), missing, head), strict=True):
        chosen[field] = name
        findings.warn(
            f"column {name!r} is taken for the {COLUMNS[field]} by what it holds; --data.{field} "
            "names another."
        )
    return {field: chosen[field] for field in COLUMNS if field in chosen}


def _named(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Columns that are named so, as ``user``, ``userId`` or ``USER_ID``, then those that hold such
    a word."""
    plain: dict[str, str] = {}
    for column in map(str, frame.columns):
        apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()
        words = (word.removesuffix("id") for word in re.split(r"[^a-z]+", apart))
        kept_words = [word for word in words if word not in ("", "code", "key")]
        plain.setdefault(" ".join(kept_words), column)
    return [plain[name] for name in find_named(list(plain), *names)]


def _time_column(free: pd.DataFrame, head: pd.DataFrame) -> str:
    """The free column that is named like times and holds some, else one with dates or with numbers
    that may count from 1970.

    Raises:
        DataProblem: there is none.
    """
    usable = {}
    for name in free:
        values = _present(free[name])
        times = _times(values)
        if len(values) and len(times) >= MOSTLY * len(values):
            usable[name] = times
    named = [name for name in _named(free, TIME_NAMES) if name in usable]
    dates = [name for name in usable if _dates(free[name])]
    numbers = [name for name, times in usable.items() if _unit(times)]
    for name in named + dates + numbers:
        return name
    found = ", ".join(f"{name} ({_first(head[name])!r})" for name in head)
    raise DataProblem(
        "PATH: no column looks like times, which are numbers or dates such as 2024-01-31 12:00; "
        f"found: {found}. Name one with --data.timestamp_column."
    )


def _ids_in(free: pd.DataFrame, fields: list[str], head: pd.DataFrame) -> list[str]:
    """A free column for each field: those with the most different values that come again, in the
    order of the table.

    Raises:
        DataProblem: there are not enough of them.
    """
    distinct = {name: head[name].astype(str).nunique() for name in head}
    again = [n for n in free if 2 <= distinct[n] < len(head) and not _fractions(head[n])]
    if len(again) < len(fields):
        field = fields[len(again)]
        found = ", ".join(f"{name} ({count} different values)" for name, count in distinct.items())
        raise DataProblem(
            f"PATH: no column looks like {COLUMNS[field]}; found: {found}. Name one with "
            f"--data.{field}."
        )
    most = sorted(again, key=lambda name: -distinct[name])[: len(fields)]
    return sorted(most, key=list(head).index)


def _present(values: pd.Series) -> pd.Series:
    some = values.head(TRIED).dropna()
    return some[some.astype(str).str.strip() != ""]


def _first(values: pd.Series) -> str:
    return next(iter(_present(values).astype(str)), "")


def _times(values: pd.Series) -> np.ndarray:
    """The times of those values that training takes for times."""
    column = dict.fromkeys(("user_column", "item_column", "timestamp_column"), "x")
    reader = Reader(DataConfig(**column, max_unreadable=1.0))
    reader.add(values.to_frame("x"), "")
    return reader.log().times if len(values) else np.zeros(0)


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(_present(values).astype(str), errors="coerce").to_numpy("float64")


def _is_number(values: pd.Series) -> bool:
    numbers = _numbers(values)
    return len(numbers) > 0 and bool(np.isfinite(numbers).mean() >= MOSTLY)


def _fractions(values: pd.Series) -> bool:
    numbers = _numbers(values)
    return bool(np.any(np.isfinite(numbers) & (numbers != np.floor(numbers))))


def _dates(values: pd.Series) -> bool:
    """Whether values are dates rather than numbers."""
    numbers = _numbers(values)
    return len(numbers) > 0 and not np.isfinite(numbers).any()


def _describe(head: pd.DataFrame, chosen: dict[str, str], findings: Findings) -> None:
    for name in head:
        values = head[name].fillna("").astype(str).str.strip()
        used = " and ".join(COLUMNS[field] for field in chosen if chosen[field] == name)
        distinct, empty = values[values != ""].nunique(), int((values == "").sum())
        text = f"{f'the {used}' if used else 'not used'}; {distinct} different values"
        text += f", {empty} empty" if empty else ""
        if not used and distinct <= FEW_VALUES:
            text += f": {format_counts(Counter(values))}"
        findings.add_fact(f"column {name}", text)


# === Events ===


def _in_time(log: Log, dates: bool, findings: Findings) -> Log:
    """The log without events of the future, which training leaves out too."""
    if len(log) == 0:
        return log
    unit = "seconds" if dates else _unit(log.times)
    counted = "dates" if dates else f"{unit} since 1970" if unit else "numbers"
    now, times = time.time(), log.times / UNITS.get(unit, 1)
    late = (times > now + DAY) & bool(unit)
    # As in data.py: times of which most lie in the future are no dates to be sure of.
    left_out = unit == "seconds" and SINCE < np.median(times) < now
    if late.any():
        findings.warn(
            f"{late.sum()} events lie in the future, the last at {_date(times.max())}"
            f"{'; they are left out' if left_out else ''}."
        )
        if left_out:
            log, times = kept(log, ~late), times[~late]
    early = times < SINCE
    if unit and early.any() and np.median(times) > SINCE:
        findings.warn(
            f"{early.sum()} events lie before 1990, the first at {_date(times.min())}; their times "
            "may be missing."
        )
    shown = _date if unit else "{:g}".format
    findings.add_fact("times", f"{shown(times.min())} to {shown(times.max())}, {counted}")
    if times.min() == times.max():
        findings.warn("all events have the same time; training refuses that.")
    return log


def _unit(times: np.ndarray) -> str:
    """What times count since 1970; '' for other numbers."""
    middle = np.median(times)
    return next((unit for unit, per in UNITS.items() if SINCE <= middle / per < UNTIL), "")


def _date(seconds: float) -> str:
    return str(np.datetime64(int(seconds // 60), "m")).replace("T", " ")


def _look_at_unusable(
    reader: Reader, events: int, data: DataConfig, given: set[str], findings: Findings
) -> None:
    """Say why rows cannot be used, and raise ``data.max_unreadable`` where they are too many."""
    first = {reason: row for row, reason in reversed(reader.unreadable)}
    for reason, count in Counter(reason for _, reason in reader.unreadable).items():
        findings.warn(f"{count} rows cannot be used: {reason}, the first is row {first[reason]}.")
    lost = reader.rows - events
    if lost > data.max_unreadable * reader.rows:
        share = lost / reader.rows
        if "max_unreadable" in given:
            findings.warn(f"{share:.0%} of the rows cannot be used; training refuses that.")
        else:
            findings.warn(
                f"{share:.0%} of the rows cannot be used; max_unreadable was raised for that."
            )
            findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))


def _look_at(log: Log, findings: Findings) -> None:
    of_user, of_item = np.bincount(log.users), np.bincount(log.items)
    users, items, events = len(of_user), len(of_item), len(log)
    findings.add_fact("users", str(users))
    findings.add_fact("items", f"{items}, {np.sum(of_item == 1)} of them with a single event")
    findings.add_fact("events", f"{events}, {events / (users * items):.2%} of all pairs")
    middle, most, all_of_them = (int(np.quantile(of_user, q)) for q in (0.5, 0.95, 1.0))
    findings.add_fact(
        "events per user", f"{middle} in the middle, 95 % up to {most}, all {all_of_them}"
    )
    ordered = np.sort(of_item)[::-1]
    heads = [ordered[: max(1, round(items * share))].sum() / events for share in (0.01, 0.1)]
    findings.add_fact(
        "popularity",
        "the most popular 1% of the items have {:.0%} of the events, 10% have {:.0%}".format(
            *heads
        ),
    )
    for count, things in ((users, "user"), (items, "item")):
        if count == 1:
            findings.warn(f"there is a single {things}; there is nothing to learn.")
    if min(users, items) > 1 and events < SPARSE * max(users, items):
        findings.warn(
            f"the log is very sparse: {events / users:.1f} events a user and {events / items:.1f} "
            "an item in the mean; --data.least_events leaves out those with few."
        )


def _look_at_ratings(ratings: np.ndarray, column: str, findings: Findings) -> None:
    values, counts = np.unique(ratings, return_counts=True)
    shown = [f"{values[i]:g} {counts[i] / len(ratings):.0%}" for i in np.argsort(-counts)[:5]]
    findings.add_fact("ratings", f"{values[0]:g} to {values[-1]:g}, mostly {', '.join(shown)}")
    none, middle = np.mean(ratings == 0), np.median(ratings)
    if none > 0.5:
        findings.warn(
            f"{none:.0%} of {column!r} are 0; such events are known, but nothing to learn. Without "
            "rating_column all count alike."
        )
    elif values[-1] > 100 * middle:
        findings.warn(
            f"{column!r} is {middle:g} in the middle and up to {values[-1]:g}; an event counts as "
            "much as that. Without rating_column all count alike."
        )


def _look_at_people(log: Log, findings: Findings) -> None:
    """Warn of users that are none: bots, and names of missing values."""
    for ids, numbers, things in (
        (log.user_ids, log.users, "user"),
        (log.item_ids, log.items, "item"),
    ):
        for place in (i for i, name in enumerate(ids) if name.lower() in MISSING):
            findings.warn(
                f"{things} {ids[place]!r} has {np.sum(numbers == place)} events; it looks like a "
                "missing value."
            )
    bots = dict(_bots(log))
    if bots:
        shown = [f"{log.user_ids[user]!r} ({why})" for user, why in list(bots.items())[:3]]
        more = f" and {len(bots) - 3} more" if len(bots) > 3 else ""
        findings.warn(
            f"users that may be bots: {', '.join(shown)}{more}; they are trained on like others."
        )


def _bots(log: Log) -> Iterator[tuple[int, str]]:
    """Users, by number, and why they look like bots; a user may come several times."""
    starts = log.starts()
    counts = np.diff(starts)
    if unit := _unit(log.times):
        for user in np.flatnonzero(counts >= BOT_REGULAR):
            gaps = np.diff(log.times[starts[user] : starts[user + 1]]).round(3)
            values, times = np.unique(gaps, return_counts=True)
            often = times.argmax()
            if values[often] > 0 and times[often] >= REGULAR * len(gaps):
                gap = values[often] / UNITS[unit]
                yield user, f"{times[often]} times a gap of {gap:g} seconds"
    new = np.r_[True, (np.diff(log.users) != 0) | (np.diff(log.times) != 0), True]
    places = np.flatnonzero(new)
    at_once = np.diff(places)
    for run in np.flatnonzero(at_once >= BOT_AT_ONCE):
        yield log.users[places[run]], f"{at_once[run]} events at the same time"
    most = max(BOT_EVENTS, BOT_TIMES * np.quantile(counts, 0.95))
    for user in np.flatnonzero(counts > most):
        yield user, f"{counts[user]} events"


# === What training makes of it ===


def _cleaned(log: Log, data: DataConfig, given: set[str], findings: Findings) -> Log:
    """The log without duplicates, and without repeats unless they are most of it."""
    same = twice(log)
    findings.add_fact("duplicates", f"{same.sum()} with the same user, item and time")
    log = kept(log, ~same)
    first = first_of_each(log)
    again = np.mean(~first)
    repeats = data.repeats if "repeats" in given else "keep" if again > 0.5 else "drop"
    findings.add_fact(
        "repeats",
        f"{np.sum(~first)} ({again:.0%}) of a user with an item again; "
        f"{'they count' if repeats == 'keep' else 'only the first counts'}",
    )
    if repeats == "keep":
        findings.fields["repeats"] = repeats
        return log
    return kept(log, first)


def _divide(log: Log, data: DataConfig, given: set[str], findings: Findings) -> None:
    """Say of which users nothing can be held out, and choose the split by time where it is all."""
    counts = np.bincount(log.users)
    few = counts < 3
    findings.add_fact("few events", f"{few.sum()} of {len(counts)} users have fewer than 3")
    if 0.5 < few.mean() < 1:
        findings.warn(
            f"{few.mean():.0%} of the users have fewer than 3 events; the split 'last' holds out "
            "nothing of them."
        )
    if log.times.min() == log.times.max():
        return
    splits = [data.split] if "split" in given else ["last", "time"]
    problems = []
    for split in splits:
        try:
            rest = k_core(log, data.least_events)
            divided(rest, split, data.validation_fraction, data.test_fraction)
        except DataProblem as problem:
            problems.append(str(problem))
        else:
            if problems:
                findings.fields["split"] = split
                findings.warn("no user has three events; split was set to time for that.")
            return
    findings.warn(f"training refuses that: {problems[-1]}")


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
