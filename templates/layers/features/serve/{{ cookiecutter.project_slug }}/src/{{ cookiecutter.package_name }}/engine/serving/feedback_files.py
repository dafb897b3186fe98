"""Files of feedback, in the form that ``--data.source csv`` reads for the next training.

For each model, ``FOLDER/MODEL/`` holds ``verdicts.jsonl``, with a line for each verdict, and those
inputs whose right answer is known: ``texts.csv``, ``events.csv`` (users and items), ``rows.csv``,
or ``images.csv`` with the images in a folder for each class.

Whatever was sent is data: names of folders and files are made here.
"""

import base64
import csv
import hashlib
import io
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..files import make_untracked_folder
from ..locks import wait_lock
from .problems import Refused

MAX_MEGABYTES = 1_000  # of the whole folder
PLAIN_NAME = re.compile(r"[^\W_][\w ()+,-]{0,59}")  # of a class, as the name of a folder
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # Windows
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"BM": ".bmp"}


@dataclass(frozen=True)
class Opinion:
    """What somebody says of an answer.

    Attributes:
        row: what was asked, bytes in base64.
        prediction: what the model answered.
        is_right: whether the answer was right.
        answer: what would have been right; None: unknown.
    """

    row: Mapping[str, Any]
    prediction: str
    is_right: bool
    answer: str | None = None

    @property
    def verdict(self) -> str:
        return "up" if self.is_right else "down"

    @property
    def truth(self) -> str | None:
        """The right answer, None if it is unknown."""
        return (self.prediction if self.is_right else self.answer) or None


class FeedbackFiles:
    """A folder of feedback, to which several processes may add."""

    def __init__(self, folder: Path, max_bytes: int = MAX_MEGABYTES * 1_000_000) -> None:
        make_untracked_folder(folder)
        self.folder, self.max_bytes = folder, max_bytes
        self._bytes = _measure(folder)
        self._lock = threading.Lock()

    def keep_verdict(self, model: Any, verdict: str) -> None:
        """Keep a verdict and nothing of what was asked: not even the time, only the day.

        Args:
            model: which answered.
            verdict: ``up`` or ``down``.
        """
        line = {"day": _now().date().isoformat(), **_describe(model), "verdict": verdict}
        self._append(model, [("verdicts.jsonl", _json_line(line))])

    def keep(self, model: Any, opinion: Opinion) -> None:
        """Keep an opinion, and what was asked if its right answer is known.

        Args:
            model: which answered.
            opinion: on its answer.

        Raises:
            Refused: the folder is full.
        """
        line = {
            "time": _now().isoformat(timespec="seconds"),
            **_describe(model),
            "verdict": opinion.verdict,
            "prediction": opinion.prediction,
            "answer": opinion.truth,
        }
        parts = [("verdicts.jsonl", _json_line(line))]
        if opinion.truth is not None:
            parts += _make_examples(model.schema, opinion.row, opinion.truth)
        self._append(model, parts)

    def _append(self, model: Any, parts: Iterable[tuple[str, bytes]]) -> None:
        """Add to files of a model's folder, all of it or, if the folder is full, nothing."""
        folder = self.folder / _name_folder(model.name)
        parts = [part for part in parts if _is_new(folder / part[0])]
        with self._lock, wait_lock(self.folder / ".lock"):
            added = sum(len(part) for _, part in parts)
            if self._bytes + added > self.max_bytes:
                raise Refused(507, "The folder for feedback is full; nothing was kept.")
            self._bytes += added
            for name, part in parts:
                _append_to_file(folder / name, part)


def _make_examples(
    schema: Mapping[str, Any], row: Mapping[str, Any], truth: str
) -> list[tuple[str, bytes]]:
    """Return names of files and what is added to them, for an example of the next training."""
    properties = schema["properties"]
    media = {field.get("contentMediaType", ""): name for name, field in properties.items()}
    image = next((name for kind, name in media.items() if kind.startswith("image/")), None)
    if image:
        return _make_image(base64.b64decode(row[image]), truth)
    if "text/plain" in media:
        return [("texts.csv", _csv_lines(("text", "label"), [(row[media["text/plain"]], truth)]))]
    if "history" in properties:
        return [("events.csv", _make_events(row, properties["history"], truth))]
    columns = [*properties, "label"]
    return [("rows.csv", _csv_lines(columns, [[*map(row.get, properties), truth]]))]


def _make_image(content: bytes, truth: str) -> list[tuple[str, bytes]]:
    suffix = next((s for start, s in SUFFIXES.items() if content.startswith(start)), ".img")
    path = f"images/{_name_folder(truth)}/{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
    return [(path, content), ("images.csv", _csv_lines(("path", "label"), [(path, truth)]))]


def _make_events(row: Mapping[str, Any], field: Mapping[str, Any], truth: str) -> bytes:
    """Return the interaction that was right; that of a new user comes after the history."""
    history, user, now = row.get("history") or [], row.get("user"), _now()
    if isinstance(history, str):
        history = [item for item in history.split(field.get("x-separator", ",")) if item]
    # The source has the history of a user with a name.
    items = [truth] if user else [*history, truth]
    user = user or f"feedback-{secrets.token_hex(6)}"
    times = [now - timedelta(seconds=ago) for ago in reversed(range(len(items)))]
    events = [
        (user, item, time.isoformat(timespec="seconds"))
        for item, time in zip(items, times, strict=True)
    ]
    return _csv_lines(("user", "item", "timestamp"), events)


def _csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return lines of a CSV file; the header is left out again where the file has one."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _append_to_file(path: Path, content: bytes) -> None:
    """Add to a file in one write that is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=0) as file:
        if size := file.seek(0, os.SEEK_END):
            if path.suffix == ".csv":
                content = content.partition(b"\r\n")[2]
            file.seek(size - 1)
            if file.read(1) != b"\n":  # the end of a line that was cut off
                content = b"\r\n" + content
        file.write(content)
        os.fsync(file.fileno())


def _is_new(path: Path) -> bool:
    """Return whether there is something to add: an image is named after its content."""
    return path.suffix in (".csv", ".jsonl") or not path.exists()


def _name_folder(name: str) -> str:
    """Return a name as that of a folder, or a hash of it where it could be anything else."""
    if PLAIN_NAME.fullmatch(name) and not RESERVED.fullmatch(name) and name == name.strip():
        return name
    return f"label-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _measure(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _json_line(content: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(content, ensure_ascii=False)}\n".encode("utf-8", "replace")


def _describe(model: Any) -> dict[str, str]:
    return {"model": model.name, "version": model.version}


def _now() -> datetime:
    return datetime.now(UTC)
