"""All texts of a source in one temporary file, so that memory does not grow with them."""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..config import DataConfig
from ..engine.errors import DataProblem
from ..engine.files import project_root
from .duplicates import BandKeys, ContentHasher
from .texts import CHUNK, Unreadable

TEXT, CHAT, PAIRS = "text", "chat", "pairs"


class Row(NamedTuple):
    """What a source yields: a text, a chat, or a prompt with two answers.

    Attributes:
        id: names it in messages and reports.
        text: of kind ``text``; also in chunks, if it is long.
        messages: of a chat, or of the prompt of a pair.
        answers: chosen and rejected answer of a pair.
        tools: that a chat may call, as JSON.
        split: of the source, or ''.
        group: rows of one group stay in one split; '' for none.
        problem: the reason why it cannot be used, or ''.
    """

    id: str
    text: str | Iterable[str] = ""
    messages: list[dict[str, Any]] | None = None
    answers: tuple[str, str] | None = None
    tools: list[dict[str, Any]] | None = None
    split: str = ""
    group: str = ""
    problem: str = ""

    @property
    def kind(self) -> str:
        if self.answers is not None:
            return PAIRS
        return TEXT if self.messages is None else CHAT


@dataclass(frozen=True)
class Span:
    """A text, or a part of it by position.

    Attributes:
        document: its number in the corpus.
        start, end: bytes in the corpus.
    """

    document: int
    start: int
    end: int


class Corpus:
    """Rows of one kind, read from a source; each is kept as UTF-8 (of text) or JSON.

    Attributes:
        kind: ``text``, ``chat`` or ``pairs``.
        ids, groups, splits: of each row.
        keys: (size,) hashes of the contents; copies share one.
        bands: by which near-copies are found.
        unreadable: ids and reasons of rows that cannot be used.

    Args:
        near_duplicates: share of common groups of words from which on texts are near-copies.
    """

    def __init__(self, near_duplicates: float) -> None:
        self.bands = BandKeys(near_duplicates)
        folder = project_root() / ".cache"
        folder.mkdir(exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._starts, self._ends = array("q"), array("q")
        self._size = 0
        self._flushed = False
        self.kind = ""
        self.ids: list[str] = []
        self.groups: list[str] = []
        self.splits: list[str] = []
        self.keys: list[str] = []
        self.unreadable: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def read(cls, rows: Iterable[Row], data: DataConfig) -> "Corpus":
        """Read all rows of a source.

        Args:
            rows: of the source.
            data: says how many may be unreadable, and where they are from.

        Raises:
            DataProblem: there is none, too many cannot be used, or they are of several kinds.
        """
        corpus = cls(data.near_duplicates)
        for row in rows:
            corpus._add(row)
        corpus._check(data)
        return corpus

    def _add(self, row: Row) -> None:
        if row.problem:
            self.unreadable.append((row.id, row.problem))
            return
        if self.kind and row.kind != self.kind:
            raise DataProblem(
                f"data: row {row.id!r} is of the kind {row.kind!r} and those before it of "
                f"{self.kind!r}; rows of one kind are needed."
            )
        start = self._size
        try:
            empty, key = self._write(row)
        except (Unreadable, UnicodeEncodeError) as error:
            lone = isinstance(error, UnicodeEncodeError)
            reason = "a half of a surrogate pair, which is no character" if lone else str(error)
            self._rewind(start)
            self.unreadable.append((row.id, reason))
            return
        if empty:
            self._rewind(start)
            self.unreadable.append((row.id, "the text is empty"))
            return
        self.bands.end()
        self.kind = row.kind
        self._starts.append(start)
        self._ends.append(self._size)
        self.ids.append(row.id)
        self.groups.append(row.group)
        self.splits.append(row.split)
        self.keys.append(key)

    def _write(self, row: Row) -> tuple[bool, str]:
        """Write a row's content; return whether it is empty, and its hash."""
        hasher = ContentHasher()
        self.bands.begin()
        if row.kind == TEXT:
            empty = True
            for text in [row.text] if isinstance(row.text, str) else row.text:
                if "\0" in text:
                    raise Unreadable("a NUL; it is no text but binary")
                self._append(text.encode())
                hasher.update(text)
                self.bands.add(text)
                empty = empty and not text.strip()
            return empty, hasher.key()
        record = {"messages": row.messages, "answers": row.answers, "tools": row.tools}
        self._append(json.dumps(record, ensure_ascii=False).encode())
        for text in message_texts(row.messages or []):
            hasher.update(text + "\n")
            self.bands.add(text + "\n")
        return False, hasher.key()

    def _append(self, content: bytes) -> None:
        self._file.write(content)
        self._size += len(content)

    def _rewind(self, start: int) -> None:
        self._file.seek(start)
        self._file.truncate()
        self._size = start

    def _check(self, data: DataConfig) -> None:
        total = len(self) + len(self.unreadable)
        if total == 0:
            raise DataProblem(f"data: there are no texts in {data.path or data.source!r}.")
        if len(self.unreadable) > data.max_unreadable * total:
            number = len(self.unreadable)
            name, reason = self.unreadable[0]
            if total == 1:
                raise DataProblem(f"data: {name}: {reason}.")
            raise DataProblem(
                f"data: {number} of {total} texts cannot be used, more than data.max_unreadable "
                f"{data.max_unreadable:g} allows; the first is {name!r}: {reason}."
            )

    # === Reading ===

    def span(self, document: int) -> Span:
        """Return the whole of a document."""
        return Span(document, self._starts[document], self._ends[document])

    def sizes(self) -> np.ndarray:
        """Return the bytes (size,) int64 of each document."""
        return np.array(self._ends, "int64") - np.array(self._starts, "int64")

    def bytes(self, start: int, end: int) -> bytes:
        """Read a part of the file."""
        if not self._flushed:
            self._file.flush()
            self._flushed = True
        self._file.seek(start)
        return self._file.read(end - start)

    def chunks(self, span: Span) -> Iterator[str]:
        """Yield a text in chunks."""
        start = span.start
        while start < span.end:
            end = self.character_start(min(start + CHUNK, span.end), span.end)
            yield self.bytes(start, end).decode()
            start = end

    def character_start(self, place: int, end: int) -> int:
        """Return the first byte from ``place`` on, before ``end``, that begins a character."""
        while place < end and self.bytes(place, place + 1)[0] & 0xC0 == 0x80:
            place += 1
        return place

    def record(self, document: int) -> Row:
        """Read a chat or a pair."""
        content = json.loads(self.bytes(self._starts[document], self._ends[document]))
        answers = content["answers"]
        return Row(
            self.ids[document],
            messages=content["messages"],
            answers=None if answers is None else (answers[0], answers[1]),
            tools=content["tools"],
        )

    def texts(self, span: Span) -> Iterator[str]:
        """Yield the words of a row, whatever its kind: a text in chunks, or each message."""
        if self.kind == TEXT:
            yield from self.chunks(span)
            return
        row = self.record(span.document)
        yield from message_texts(row.messages or [])
        yield from row.answers or ()

    def digest(self, spans: Sequence[Span]) -> str:
        """Hash the contents of texts, in their order."""
        hashed = hashlib.sha256()
        for span in spans:
            hashed.update(f"{span.end - span.start}:".encode())
            for start in range(span.start, span.end, CHUNK):
                hashed.update(self.bytes(start, min(start + CHUNK, span.end)))
        return hashed.hexdigest()


def message_texts(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the texts of messages."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content:
            yield json.dumps(content, ensure_ascii=False)
