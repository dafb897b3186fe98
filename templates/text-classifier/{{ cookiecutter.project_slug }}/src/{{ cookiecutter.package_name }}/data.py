"""Sources of labelled texts, and their way into three splits.

A source takes the ``data`` fields and yields ``Row``s. To add one, write such a function and add a
line to ``SOURCES`` in ``registry.py``.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .config import Config, DataConfig
from .datasets import tickets
from .datasets.downloads import (
    check_columns,
    keras_download,
    labelled_splits,
    needs_extra,
    tfds_builder,
)
from .datasets.folders import existing, find_labelled
from .datasets.labels import class_names, parted, strata
from .datasets.rows import Row, as_label, find_texts, read_table, read_whole
from .datasets.splits import TEST, TRAIN, VALIDATION, divided, limited
from .datasets.texts import TextStore, content_key
from .engine.errors import DataProblem, ProjectError, UsageProblem
from .engine.interfaces import DatasetSplits, Split
from .engine.lookup import find
from .registry import SOURCES

log = logging.getLogger(__package__)

TICKETS = 6_000
REUTERS_TOPICS = 46


# === Sources ===


@cache
def all_tickets() -> list[tickets.Ticket]:
    """The generated tickets; each has the name of its place."""
    return tickets.generate(TICKETS, seed=0)


def generated_tickets(data: DataConfig) -> Iterator[Row]:
    """6,000 generated support tickets with six intents; a stated share of the labels is wrong."""
    for number, ticket in enumerate(all_tickets()):
        yield Row(f"{number:04d}", ticket.text, ticket.label)


def table(data: DataConfig) -> Iterator[Row]:
    """A file with a row for each text: csv, tsv, jsonl or parquet."""
    file = existing(data, Path.is_file, "file")
    if file.suffix != f".{data.source}":
        raise UsageProblem(f"data.path: {data.path!r} must end with .{data.source}.")
    return read_table(file, data)


def folder(data: DataConfig) -> Iterator[Row]:
    """``PATH/train/LABEL/*.txt`` with optional ``val/`` and ``test/``, or ``PATH/LABEL/*.txt``."""
    found = find_labelled(existing(data, Path.is_dir, "folder"), find_texts)
    for label in found.empty():
        raise DataProblem(f"data.path: class {label!r} has no texts in {data.path!r}.")
    for path, name, label, split in found.files:
        text, problem = read_whole(path, data.encoding)
        yield Row(name, text, label, split, problem=problem)


def keras_dataset(name: str, classes: list[str]) -> Callable[[DataConfig], Iterator[Row]]:
    """A data set that Keras downloads as word numbers, with its own test split."""

    def source(data: DataConfig) -> Iterator[Row]:
        module = getattr(keras.datasets, name)
        with keras_download(name):
            parts = module.load_data(start_char=None, index_from=0)
            words = {number: word for word, number in module.get_word_index().items()}
        for split, (texts, targets) in zip((TRAIN, TEST), parts, strict=True):
            for number, (text, target) in enumerate(zip(texts, targets, strict=True)):
                joined = " ".join(words.get(int(word), "") for word in text)
                yield Row(f"{split}-{number}", joined, classes[int(target)], split)

    return source


def tfds(data: DataConfig) -> Iterator[Row]:
    """A TensorFlow Datasets set (``tfds:ag_news_subset``) with its own splits.

    ``data.path`` is the folder of prepared sets (default: TFDS's own). Extra: ``tfds``.
    """
    builder = tfds_builder(data, (data.text_column, data.label_column))
    names = getattr(builder.info.features[data.label_column], "int2str", str)
    for name, split in labelled_splits(builder.info.splits).items():
        for number, example in enumerate(builder.as_dataset(split=name).as_numpy_iterator()):
            text = example[data.text_column].decode("utf-8", "replace")
            label = example[data.label_column]
            label = label.decode() if isinstance(label, bytes) else names(label)
            yield Row(f"{name}-{number}", text, str(label), split)


def hugging_face(data: DataConfig) -> Iterator[Row]:
    """A set of Hugging Face (``hf:imdb``), or a folder that ``save_to_disk`` wrote
    (``data.source hf:local``, ``data.path FOLDER``). Extra: ``hf``."""
    try:
        import datasets
    except ImportError:
        raise needs_extra("hf") from None
    name = data.source.removeprefix("hf:")
    try:
        if name == "local":
            parts = datasets.load_from_disk(str(existing(data, Path.is_dir, "folder")))
        else:
            parts = datasets.load_dataset(name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0]
        raise ProjectError(f"data.source: {data.source!r} cannot be loaded: {reason}") from error
    if not isinstance(parts, dict):
        parts = {"": parts}
    for title, split in labelled_splits(parts).items():
        part = parts[title]
        check_columns(name, (data.text_column, data.label_column), part.features)
        feature = part.features[data.label_column]
        names = getattr(getattr(feature, "feature", feature), "int2str", str)
        for number, example in enumerate(part):
            text, label = example[data.text_column] or "", example[data.label_column]
            # By custom a set without labels says -1.
            several = isinstance(label, list)
            known = [names(one) for one in (label if several else [label]) if one not in (None, -1)]
            found = as_label(known if several else "".join(known), data.label_separator)
            yield Row(f"{title}-{number}", text, found, split)


imdb = keras_dataset("imdb", ["negative", "positive"])
reuters = keras_dataset("reuters", [f"{i:02d}" for i in range(REUTERS_TOPICS)])


# === From rows to splits ===


def load(config: Config, preprocessing: Any = None) -> DatasetSplits:
    """Read the configured source, check it, and split it.

    Args:
        preprocessing: of a model that is evaluated; it is not needed here.

    Raises:
        DataProblem: there is nothing to learn from, naming file, row, column or class.
    """
    data = config.data
    rows = find(SOURCES, data.source)(data)
    store, unreadable = TextStore(), []
    kept: dict[str, list[str]] = {name: [] for name in ("id", "label", "split", "group", "key")}
    known: dict[str, str] = {}  # labels and splits are the same few texts
    for row in rows:
        problem = row.problem or _problem(row, data)
        if problem:
            unreadable.append((row.id, problem))
            continue
        store.append(row.text)
        values = (row.id, row.label, row.split, row.group, content_key(row.text))
        for name, value in zip(kept, values, strict=True):
            one = known.setdefault(value, value) if name in ("label", "split") else value
            kept[name].append(one)
    arrays = {name: np.array(values, dtype=object) for name, values in kept.items()}
    _check(arrays["label"], unreadable, data)
    return _divided(arrays, store, unreadable, data)


def _divided(
    arrays: dict[str, np.ndarray],
    store: TextStore,
    unreadable: list[tuple[str, str]],
    data: DataConfig,
) -> DatasetSplits:
    separator = data.label_separator or ""
    places = np.arange(len(arrays["id"]))
    given = arrays["split"] if any(arrays["split"]) else None
    if data.limit and data.limit < len(places):
        places = limited(strata(arrays["label"], separator), given, data)
    ids, labels, keys, groups = (arrays[name][places] for name in ("id", "label", "key", "group"))
    splits = divided(
        strata(labels, separator),
        keys,
        groups if any(groups) else None,
        None if given is None else given[places],
        data,
    )
    used, training = splits != "", splits == TRAIN
    counts = Counter(name for label in labels[used] for name in parted(label, separator))
    unlearnt = set(counts) - set(class_names(labels[training], separator))
    if unlearnt:
        raise DataProblem(f"data: class {min(unlearnt)!r} has no example in the training split.")
    lines = map("|".join, zip(splits[used], ids[used], keys[used], labels[used], strict=True))
    parts = {
        name: _split(store, ids, labels, places, np.flatnonzero(splits == name))
        for name in (TRAIN, VALIDATION, TEST)
    }
    notes = {
        "classes": dict(sorted(counts.items())),
        "dropped_duplicates": int(np.count_nonzero(~used)),
    }
    if data.source == "tickets":
        notes["generated"] = True
        notes["best_reachable_accuracy"] = _best_reachable(parts[TEST])
    return DatasetSplits(
        source=data.source,
        digest=hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest(),
        **parts,
        duplicates=len(keys) - len(np.unique(keys)),
        unreadable=tuple(unreadable),
        notes=notes,
    )


def _split(
    store: TextStore, ids: np.ndarray, labels: np.ndarray, places: np.ndarray, own: np.ndarray
) -> Split:
    stored = places[own]

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        texts = tf.numpy_function(lambda i: store.read(stored[i]), [positions], tf.string)
        return tf.ensure_shape(texts, (None,))

    return Split(ids[own], labels[own], fetch)


def _problem(row: Row, data: DataConfig) -> str:
    if not row.text.strip():
        return "the text is empty"
    # A text that may have several labels may have none.
    return "" if row.label or data.label_separator else "the label is missing"


def _check(labels: np.ndarray, unreadable: list[tuple[str, str]], data: DataConfig) -> None:
    total = len(labels) + len(unreadable)
    if total == 0:
        raise DataProblem(f"data: there are no texts in {data.path or data.source!r}.")
    if len(unreadable) > data.max_unreadable * total:
        raise DataProblem(
            f"data: {len(unreadable)} of {total} texts cannot be used, more than "
            f"data.max_unreadable {data.max_unreadable:g} allows; the first is "
            f"{unreadable[0][0]!r}: {unreadable[0][1]}."
        )
    names = class_names(labels, data.label_separator or "")
    if len(names) < 2:
        found = f"of one class, {names[0]!r}" if names else "without a label"
        raise DataProblem(f"data: all texts are {found}; two are needed.")
    if 2 * len(names) > len(labels):
        raise DataProblem(
            f"data.label_column: {data.label_column!r} has {len(names)} different values in "
            f"{len(labels)} rows; these are no classes. Is it swapped with data.text_column?"
        )


def _best_reachable(test: Split) -> float:
    """Share of the generated test tickets whose label is the true intent."""
    drawn = [all_tickets()[int(number)] for number in test.ids]
    return float(np.mean([ticket.label == ticket.intent for ticket in drawn]))
