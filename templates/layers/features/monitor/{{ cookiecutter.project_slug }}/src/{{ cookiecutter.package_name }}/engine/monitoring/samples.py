"""Samples of what a service is asked and answers: kept by the service, read by ``monitor``.

Only columns that describe inputs and answers are kept (``features.py``), never the inputs. Where
examples are of persons, not even those of a row: a line holds the counts of ``ROWS_AT_ONCE`` rows,
in which small cells are merged, and is written once that many have come.

Files are ``FOLDER/MODEL/NUMBER.jsonl`` with older parts beside them. Each process has a number of
its own; those of processes that have ended are taken again, so that the whole is bounded.
"""

import json
import logging
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import DataProblem
from ..files import make_untracked_folder, project_root
from ..interfaces import Requests
from ..locks import Lock, try_lock
from .bins import SMALL, add_counts, merge_small
from .features import Columns, describe_answers, describe_split
from .models import name_version
from .profile import INPUTS, PREDICTIONS, Profile, read_profile
from .sections import MonitorFields

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 500  # of persons, in a line
PARTS = 4  # files of a process, of which the oldest is dropped when the newest is full
DIGITS = 6  # of numbers
MAX_TEXT = 200  # characters

_lock = threading.Lock()
_keepers: "dict[str, Keeper]" = {}  # by the names of the models
_warnings: set[tuple[str, str]] = set()  # names of models with reasons, each of which is said once


# === The service ===


def keep(
    fields: MonitorFields, model: Any, requests: Requests, answers: Sequence[Mapping[str, Any]]
) -> None:
    """Keep what a service was asked and has answered, as configured.

    Args:
        fields: say where and how much.
        model: that has answered.
        requests: the rows that were sent.
        answers: to those of them that were right.
    """
    with _lock:
        try:
            _find_keeper(model, fields).add(model, requests, answers)
        except OSError as error:
            if keeper := _keepers.pop(model.name, None):  # the next rows may find more space
                keeper.close()
            warning = (model.name, error.strerror or type(error).__name__)
            if warning not in _warnings:
                _warnings.add(warning)
                log.warning(
                    "monitor.samples: none are kept of %s in %r: %s.",
                    model.name,
                    fields.samples,
                    warning[1],
                )


def _find_keeper(model: Any, fields: MonitorFields) -> "Keeper":
    version = name_version(model.version, model.registered_name)
    keeper = _keepers.get(model.name)
    if keeper is None or keeper.version != version:
        if keeper:
            _keepers.pop(model.name).close()
        keeper = _keepers[model.name] = Keeper.open(model, fields)
    return keeper


class SampleFiles(RotatingFileHandler):
    """Files that replace each other when they are full."""

    def append(self, line: str) -> None:
        """Write a line at once.

        Raises:
            OSError: it cannot be written; ``emit`` would print it to stderr.
        """
        if self.shouldRollover(logging.makeLogRecord({"msg": line})):
            self.doRollover()
        self.stream = self.stream or self._open()
        self.stream.write(f"{line}\n")
        self.flush()


@dataclass
class Keeper:
    """Keeps the samples of one model, which it does not hold: another one may take its place.

    Attributes:
        version: of the model, see ``name_version``.
        profile: of the model; None: it has none.
        counts: part -> column -> counts of the rows of persons that wait for their line.
    """

    version: str
    fields: MonitorFields
    profile: Profile | None
    lock: Lock
    files: SampleFiles
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    rows: int = 0
    rejected: int = 0
    counts: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def open(cls, model: Any, fields: MonitorFields) -> "Keeper":
        """Begin to keep samples of a model.

        Args:
            model: that answers.
            fields: say where and how much.

        Raises:
            OSError: nothing can be written there.
        """
        samples = samples_folder(str(fields.samples))
        make_untracked_folder(samples)
        folder = samples / to_file_name(model.name)
        folder.mkdir(exist_ok=True)
        lock, number = _take_number(folder)
        size = int(fields.max_mb * 1e6 / PARTS)
        file = folder / f"{number}.jsonl"
        _end_last_line(file)
        files = SampleFiles(file, maxBytes=size, backupCount=PARTS - 1, encoding="utf-8")
        profile = read_profile(model.artifact.attachments)
        if profile is None and model.task.has_private_examples:
            log.warning(
                "monitor.samples: none are kept of %s, as it has no profile; train it again.",
                model.name,
            )
        version = name_version(model.version, model.registered_name)
        return cls(version, fields, profile, lock, files)

    def close(self) -> None:
        """Let another process have the files; rows that wait for their line are lost."""
        with suppress(OSError):  # of a full disk
            self.files.close()
        self.lock.close()

    def add(self, model: Any, requests: Requests, answers: Sequence[Mapping[str, Any]]) -> None:
        """Keep some of the rows.

        Args:
            model: that has answered.
            requests: the rows that were sent.
            answers: to those of them that were right.
        """
        self.rejected += int((self.random.random(len(requests.problems)) < self.fields.rate).sum())
        places = np.flatnonzero(self.random.random(len(answers)) < self.fields.rate)
        is_private = model.task.has_private_examples
        if not len(places) or len(answers) != len(requests.split):
            if self.rejected >= (ROWS_AT_ONCE if is_private else 1):
                self._write(0, {INPUTS: {}, PREDICTIONS: {}})
            return
        split = requests.split.take(places)
        inputs = describe_split(model.task, split, model.artifact.preprocessing)
        predictions = describe_answers(model.task, [answers[int(place)] for place in places])
        if is_private:
            self._count(len(places), {INPUTS: inputs, PREDICTIONS: predictions})
        else:
            self._write_rows(len(places), inputs, predictions)

    def _write_rows(self, size: int, inputs: Columns, predictions: Columns) -> None:
        for place in range(size):
            line = {
                INPUTS: {name: _to_json(values[place]) for name, values in inputs.items()},
                PREDICTIONS: {n: _to_json(values[place]) for n, values in predictions.items()},
            }
            self._write(1, line)

    def _count(self, size: int, columns: Mapping[str, Columns]) -> None:
        if self.profile is None:
            return
        for part, values in columns.items():
            totals = self.counts.setdefault(part, {})
            for name, counts in self.profile.count(part, values).items():
                totals[name] = totals.get(name, 0) + counts
        self.rows += size
        if self.rows < ROWS_AT_ONCE:
            return
        line = {
            part: {
                name: merge_small(self.profile.parts[part][name].bins, counts).tolist()
                for name, counts in totals.items()
            }
            for part, totals in self.counts.items()
        }
        self._write(self.rows // SMALL * SMALL, line)  # or missing ones could be had from it
        self.rows, self.counts = 0, {}

    def _write(self, rows: int, line: Mapping[str, Any]) -> None:
        head = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": self.version,
            "rows": rows,
            "rejected": self.rejected,
        }
        self.rejected = 0
        self.files.append(json.dumps({**head, **line}, ensure_ascii=False, allow_nan=False))


def samples_folder(name: str) -> Path:
    """Return the folder that ``monitor.samples`` names, relative to the project."""
    return project_root() / name


def to_file_name(name: str) -> str:
    """Return the name of a model as that of a folder."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _end_last_line(file: Path) -> None:
    """End the line that a process was writing when it was killed."""
    if not file.exists() or not file.stat().st_size:
        return
    with file.open("r+b") as part:
        part.seek(-1, os.SEEK_END)
        if part.read() != b"\n":
            part.write(b"\n")


def _take_number(folder: Path) -> tuple[Lock, int]:
    for number in count():
        lock = try_lock(folder / f".{number}.lock")
        if lock is not None:
            return lock, number
    raise AssertionError


def _to_json(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


# === ``monitor`` ===


@dataclass(frozen=True)
class Sample:
    """What is compared with a profile.

    Attributes:
        counts: part -> column -> counts (cells,).
        rows: the number of rows.
        rejected: rows that were wrong.
        source: what it is, for people.
    """

    counts: Mapping[str, Mapping[str, np.ndarray]]
    rows: int
    rejected: int
    source: str


def read_samples(
    folder: Path, versions: Sequence[str], profile: Profile, days: float | None
) -> Sample:
    """Read the samples of a model.

    Args:
        folder: that ``monitor.samples`` names.
        versions: of the model, see ``name_version``.
        profile: of the model.
        days: of the newest samples; None: all.

    Raises:
        DataProblem: there are none.
    """
    since = datetime.now(UTC) - timedelta(days=days) if days else None
    lines, others, damaged = list[dict[str, Any]](), set[str](), 0
    for line in _read_lines(folder):
        if line is None:
            damaged += 1
        elif line["version"] not in versions:
            others.add(str(line["version"]))
        elif since is None or datetime.fromisoformat(line["time"]) >= since:
            lines.append(line)
    if not lines:
        more = f"; there are some of {', '.join(sorted(others))}" if others else ""
        raise DataProblem(
            f"--logged: there are no samples of {' or '.join(versions)} in {str(folder)!r}{more}."
        )
    times = [line["time"] for line in lines]
    source = f"samples from {min(times)} to {max(times)}"
    if damaged:
        source += f"; {damaged} damaged line{'s' * (damaged > 1)} passed over"
    count_part = _add_lines if profile.is_private else _count_lines
    return Sample(
        counts={part: count_part(lines, part, profile) for part in (INPUTS, PREDICTIONS)},
        rows=sum(line["rows"] for line in lines),
        rejected=sum(line["rejected"] for line in lines),
        source=source,
    )


def _read_lines(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the lines of all files; None for one that is damaged, as by a kill or a full disk."""
    with ExitStack() as stack:
        for file in _open_files(folder, stack):
            for text in file:
                if text.endswith("\n"):  # else a service is writing it
                    yield _parse_line(text)


def _open_files(folder: Path, stack: ExitStack) -> list[TextIO]:
    """Return each file once, although services may rename them meanwhile.

    Args:
        folder: of samples.
        stack: closes them.
    """
    files, places, is_complete = list[TextIO](), set[tuple[int, int]](), False
    while not is_complete:
        is_complete = True
        for path in sorted(folder.glob("*/*.jsonl*")):
            with suppress(FileNotFoundError):
                file = stack.enter_context(path.open(encoding="utf-8", errors="replace"))
                status = os.fstat(file.fileno())
                if (place := (status.st_dev, status.st_ino)) not in places:
                    places.add(place)
                    files.append(file)
                    is_complete = False
    return files


def _parse_line(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        datetime.fromisoformat(line["time"])
    except (ValueError, TypeError, KeyError):
        return None
    names = ("version", "rows", "rejected", INPUTS, PREDICTIONS)
    return line if all(name in line for name in names) else None


def _add_lines(
    lines: Sequence[Mapping[str, Any]], part: str, profile: Profile
) -> dict[str, np.ndarray]:
    sums = {}
    for name, column in profile.parts[part].items():
        counts = [np.array(line[part][name]) for line in lines if name in line[part]]
        if counts:
            sums[name] = add_counts(counts, column.bins.size)
    return sums


def _count_lines(
    lines: Sequence[Mapping[str, Any]], part: str, profile: Profile
) -> dict[str, np.ndarray]:
    columns: Columns = {}
    for name in profile.parts[part]:
        values = [line[part][name] for line in lines if name in line[part]]
        if any(isinstance(value, str) for value in values):
            columns[name] = np.array(["" if v is None else str(v) for v in values], dtype=object)
        elif values:
            columns[name] = np.array([np.nan if v is None else v for v in values], "float64")
    return profile.count(part, columns)
