"""Rows of tokens in memory or, if there are many, in files that later runs use again."""

import json
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..engine.files import project_root, write_json
from ..engine.interfaces import Split
from ..tokens import Tokenizer
from .packing import TokenRow

IN_MEMORY = 128 * 2**20  # bytes of a split's rows; larger ones are kept in files
CHUNK = 2**22  # bytes that are stacked and written at a time
MAX_DISK = 50 * 2**30  # bytes beyond which the files not used for longest are removed
STALE = 24 * 3600.0  # seconds after which what was begun and left is removed
MANY = 200_000  # rows that have names of their own
FEW_DOCUMENTS = 10  # of a split: with fewer, its rows are not drawn by document
PARTS = ("tokens", "segments", "weights")


@dataclass(frozen=True)
class TokenSplit(Split):
    """Rows of token ids; ``fetch`` gives a dict of tensors.

    That is ``tokens`` and ``segments`` (batch, context + 1) int32 and ``weights`` (batch,
    context + 1) float32; of pairs with a last axis of 2, and ``reference`` (batch, 2) float32.

    Attributes:
        tokenizer: of the ids.
        kind: ``text``, ``chat`` or ``pairs``.
        context: tokens that the model sees at once.
        chat_template: source of the template that rendered chats, or None.
        packed: whether a row may hold several texts.
        bytes_per_row: (size,) int64, UTF-8 of the predicted tokens.
        predicted: (size,) int64, number of predicted tokens.
        documents: (size,) text, name of the (first) text of each row.
        lost_tokens: that did not fit into rows.
    """

    tokenizer: Tokenizer = None  # type: ignore[assignment]
    kind: str = "text"
    context: int = 0
    chat_template: str | None = None
    packed: bool = True
    bytes_per_row: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    documents: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    lost_tokens: int = 0

    def read_rows(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of rows at positions (batch,)."""
        with tf.device("CPU:0"):
            rows = self.fetch(tf.constant(positions, tf.int64))
        return {name: np.asarray(part) for name, part in rows.items()}

    def read_texts(self, positions: np.ndarray) -> list[str]:
        """Return the text of each row, its pieces one below the other; of pairs the chosen one."""
        rows = self.read_rows(positions)
        texts = []
        for tokens, segments in zip(rows["tokens"], rows["segments"], strict=True):
            if tokens.ndim == 2:
                tokens, segments = tokens[:, 0], segments[:, 0]
            pieces = [tokens[segments == n].tolist() for n in range(1, int(segments.max()) + 1)]
            runs = (run for piece in pieces for run in self._split_special(piece))
            texts.append("\n".join(map(self.tokenizer.decode, runs)))
        return texts

    def _split_special(self, tokens: list[int]) -> list[list[int]]:
        """Return the runs of text between special tokens, such as the messages of a chat."""
        runs: list[list[int]] = [[]]
        for token in tokens:
            if token not in self.tokenizer.special_ids:
                runs[-1].append(token)
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]

    def with_reference(self, reference: np.ndarray) -> "TokenSplit":
        """Return the split with log-probabilities (size, 2) of the reference for each pair."""
        with tf.device("CPU:0"):
            values = tf.constant(reference, tf.float32)
        fetch = self.fetch

        def fetch_all(positions: tf.Tensor) -> dict[str, tf.Tensor]:
            return {**fetch(positions), "reference": tf.gather(values, positions)}

        return replace(self, fetch=fetch_all)


def store_rows(
    rows: Iterable[TokenRow],
    names: list[str],
    digest: str,
    settings: dict[str, Any],
    count_lost: Any = lambda: 0,
) -> TokenSplit:
    """Keep the rows of a split, in memory or in files, and return it.

    Args:
        rows: of the split; they are not drawn if files of an earlier run have them.
        names: of the documents.
        digest: hash of everything that decides the rows.
        settings: ``tokenizer``, ``kind``, ``context``, ``packed`` and ``chat_template``.
        count_lost: returns the tokens that did not fit, once all rows are drawn.
    """
    folder = project_root() / ".cache" / "tokens" / digest[:32]
    stored = _open(folder)
    if stored is None:
        if folder.exists() and _open(folder) is None:  # nobody has just made it: it is broken
            shutil.rmtree(folder, ignore_errors=True)
        stored = _write(rows, folder, settings, count_lost)
    return _make_split(stored, names, settings)


@dataclass
class _Stored:
    """Arrays of rows: tokens, segments, weights (size, …), documents (size,) and two counts."""

    parts: dict[str, np.ndarray]
    documents: np.ndarray
    bytes_per_row: np.ndarray
    predicted: np.ndarray
    lost: int
    on_disk: bool


class _Writer:
    """Collects rows in memory, and from some size on in files of a folder."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, context: int) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.beside: Path | None = None
        self.rows: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
        self.stacks: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
        self.facts = array("q")  # of each row: document, bytes and predicted tokens
        self.waiting = self.stacked = 0
        token_type = "uint16" if tokenizer.size <= 2**16 else "int32"
        segment_type = "uint16" if context < 2**16 else "int32"
        self.types = {"tokens": token_type, "segments": segment_type, "weights": "bool"}

    def add(self, row: TokenRow) -> None:
        for name in PARTS:
            part = getattr(row, name).astype(self.types[name])
            self.rows[name].append(part)
            self.waiting += part.nbytes
        predicted = row.tokens[row.weights]
        size = int(self.tokenizer.token_lengths[predicted].sum())
        self.facts.extend((row.document, size, len(predicted)))
        if self.waiting > CHUNK:
            self.flush()

    def flush(self) -> None:
        """Stack the rows that wait, and write them once there are many."""
        for name, rows in self.rows.items():
            if rows:
                self.stacks[name].append(np.stack(rows))
                rows.clear()
        self.stacked, self.waiting = self.stacked + self.waiting, 0
        if self.beside is None and self.stacked > IN_MEMORY:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.beside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder.parent))
        if self.beside is not None:
            for name, stacks in self.stacks.items():
                with (self.beside / f"{name}.bin").open("ab") as file:
                    for stack in stacks:
                        stack.tofile(file)
                stacks.clear()


def _write(
    rows: Iterable[TokenRow], folder: Path, settings: dict[str, Any], count_lost: Any
) -> _Stored:
    writer = _Writer(folder, settings["tokenizer"], settings["context"])
    shape: tuple[int, ...] = ()
    try:
        for row in rows:
            shape = row.tokens.shape
            writer.add(row)
        writer.flush()
        facts = np.array(writer.facts, "int64").reshape(-1, 3)
        documents, sizes, predicted = facts.T.copy()
        if writer.beside is None:
            empty = np.zeros((0, settings["context"] + 1), "int32")
            # One part after the other: so there are never two copies of all.
            parts = {name: np.concatenate(writer.stacks.pop(name) or [empty]) for name in PARTS}
            return _Stored(parts, documents, sizes, predicted, count_lost(), on_disk=False)
        np.save(writer.beside / "facts.npy", facts)
        meta = {"shape": [len(facts), *shape], "types": writer.types, "lost": count_lost()}
        write_json(writer.beside / "rows.json", meta)
        # Another process that has made the same came first, if it is there.
        with suppress(OSError):
            writer.beside.rename(folder)
    finally:
        if writer.beside is not None:
            shutil.rmtree(writer.beside, ignore_errors=True)
    _prune(folder)
    stored = _open(folder)
    assert stored is not None, "it has been written"
    return stored


def _open(folder: Path) -> _Stored | None:
    """Open the rows that an earlier run has written, if they are there."""
    try:
        meta = json.loads((folder / "rows.json").read_text("utf-8"))
        facts = np.load(folder / "facts.npy")
        shape = tuple(meta["shape"])
        parts: dict[str, np.ndarray] = {
            name: np.memmap(folder / f"{name}.bin", meta["types"][name], "r", shape=shape)
            for name in PARTS
        }
        os.utime(folder)  # used now
    except (OSError, ValueError, KeyError):
        return None
    documents, sizes, predicted = facts.T.copy()
    return _Stored(parts, documents, sizes, predicted, int(meta["lost"]), on_disk=True)


def _prune(used: Path) -> None:
    """Remove what was begun and left, and the files not used for longest beyond ``MAX_DISK``."""
    total = 0
    folders = [path for path in used.parent.iterdir() if path.is_dir()]
    for path in sorted(folders, key=_last_use, reverse=True):
        if path.name.startswith(".new-"):
            if time.time() - _last_use(path) > STALE:
                shutil.rmtree(path, ignore_errors=True)
            continue
        total += sum(file.stat().st_size for file in path.iterdir())
        if total > MAX_DISK and path != used:
            shutil.rmtree(path, ignore_errors=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _make_split(stored: _Stored, names: list[str], settings: dict[str, Any]) -> TokenSplit:
    size = len(stored.documents)
    titles = np.empty(len(names), object)
    titles[:] = names
    documents = titles[stored.documents]
    many = len(np.unique(stored.documents)) >= FEW_DOCUMENTS
    return TokenSplit(
        ids=_name_rows(stored.documents, documents),
        targets=np.zeros(size, "int32"),
        fetch=_fetch_mapped(stored.parts) if stored.on_disk else _fetch_memory(stored.parts),
        in_memory=True,
        groups=documents if many else None,
        bytes_per_row=stored.bytes_per_row,
        predicted=stored.predicted,
        documents=documents,
        lost_tokens=stored.lost,
        **settings,
    )


def _name_rows(numbers: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Name rows (size,) after their document, with a number where it has several."""
    if len(numbers) > MANY:
        return np.arange(len(numbers)).astype(str)
    counts: dict[int, int] = {}
    several = np.bincount(numbers, minlength=1) > 1 if len(numbers) else np.zeros(0, bool)
    names = np.empty(len(numbers), object)
    for place, (number, document) in enumerate(zip(numbers, documents, strict=True)):
        counts[number] = counts.get(number, 0) + 1
        names[place] = f"{document}:{counts[number]}" if several[number] else document
    return names


def _fetch_memory(parts: dict[str, np.ndarray]) -> Any:
    with tf.device("CPU:0"):
        stored = {name: tf.constant(part) for name, part in parts.items()}

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = {name: tf.gather(part, positions) for name, part in stored.items()}
        return {
            name: tf.cast(part, tf.float32 if name == "weights" else tf.int32)
            for name, part in rows.items()
        }

    return fetch


def _fetch_mapped(parts: dict[str, np.ndarray]) -> Any:
    shape = parts["tokens"].shape[1:]

    def read(positions: np.ndarray) -> list[np.ndarray]:
        return [
            np.asarray(parts[name][positions], "float32" if name == "weights" else "int32")
            for name in PARTS
        ]

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        types = [tf.int32, tf.int32, tf.float32]
        rows = tf.numpy_function(read, [positions], types, stateful=False)
        return {
            name: tf.ensure_shape(part, (None, *shape))
            for name, part in zip(PARTS, rows, strict=True)
        }

    return fetch
