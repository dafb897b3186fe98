"""Sources of labelled texts, and their training, validation and test splits.

A source takes the ``data`` fields and yields ``Row``s. To add one, write such a function and add a
line to ``SOURCES`` in ``registry.py``.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from .config import Config, DataConfig
from .datasets import tickets
from .datasets.downloads import check_columns, keras_download, tfds_builder
from .datasets.folders import find_class_folders
from .datasets.hugging_face import load_parts, select_splits
from .datasets.labels import class_names, split_labels, strata
from .datasets.rows import Row, as_label, find_texts, read_file, read_table
from .datasets.splits import TEST, TRAIN, VALIDATION, sample_stratified, split_examples
from .datasets.texts import TextStore, content_key
from .engine.data_path import require_path
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits, Preprocessing, Split
from .engine.lookup import find
from .registry import SOURCES

log = logging.getLogger(__package__)

NUM_TICKETS = 6_000
REUTERS_TOPICS = 46


# === Sources ===


@cache
def all_tickets() -> list[tickets.Ticket]:
    """Return the generated tickets; the id of each row is its position in this list."""
    return tickets.generate(NUM_TICKETS, seed=0)


def ticket_rows(data: DataConfig) -> Iterator[Row]:
    """Generate 6,000 support tickets with six intents, of which 4 % are labelled wrongly."""
    for number, ticket in enumerate(all_tickets()):
        yield Row(f"{number:04d}", ticket.text, ticket.label)


def table(data: DataConfig) -> Iterator[Row]:
    """Read a file with a row for each text: csv, tsv, jsonl or parquet.

    Raises:
        UsageProblem: ``data.path`` is empty, or its suffix is not that of the source.
        DataProblem: there is no such file, or it is no such table.
    """
    file = require_path(data, Path.is_file, "file")
    if file.suffix != f".{data.source}":
        raise UsageProblem(f"data.path: {data.path!r} must end with .{data.source}.")
    return read_table(file, data)


def folder(data: DataConfig) -> Iterator[Row]:
    """Read ``PATH/train/LABEL/*.txt``, optional ``val/`` and ``test/``, or ``PATH/LABEL/*.txt``.

    Raises:
        UsageProblem: ``data.path`` is empty.
        DataProblem: there is no such folder, or a class is empty.
    """
    found = find_class_folders(require_path(data, Path.is_dir, "folder"), find_texts)
    for label in found.empty_classes():
        raise DataProblem(f"data.path: class {label!r} has no texts in {data.path!r}.")
    for path, name, label, split in found.files:
        text, problem = read_file(path, data.encoding)
        yield Row(name, text, label, split, problem=problem)


def keras_dataset(name: str, classes: list[str]) -> Callable[[DataConfig], Iterator[Row]]:
    """Make a source of a data set that Keras downloads as word ids, with its own test split.

    Args:
        name: of a module of ``keras.datasets``.
        classes: names of the classes, in the order of their numbers.
    """

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
    """Load a TensorFlow Datasets set (``tfds:ag_news_subset``) with its own splits.

    ``data.path`` is the folder of prepared sets (default: TFDS's own). Extra: ``tfds``.
    """
    builder = tfds_builder(data, (data.text_column, data.label_column))
    names = getattr(builder.info.features[data.label_column], "int2str", str)
    for name, split in select_splits(builder.info.splits).items():
        for number, example in enumerate(builder.as_dataset(split=name).as_numpy_iterator()):
            text = example[data.text_column].decode("utf-8", "replace")
            label = example[data.label_column]
            label = label.decode() if isinstance(label, bytes) else names(label)
            yield Row(f"{name}-{number}", text, str(label), split)


def hugging_face(data: DataConfig) -> Iterator[Row]:
    """Load a Hugging Face data set (``hf:imdb``), or a folder that ``save_to_disk`` wrote.

    For a folder, ``data.source`` is ``hf:local`` and ``data.path`` the folder. Extra: ``hf``.

    Raises:
        ProjectError: the extra is not installed, or the set cannot be loaded.
        DataProblem: a column is missing.
    """
    name = data.source.removeprefix("hf:")
    for title, split, part in load_parts(data):
        check_columns(name, (data.text_column, data.label_column), part.features)
        feature = part.features[data.label_column]
        names = getattr(getattr(feature, "feature", feature), "int2str", str)
        for number, example in enumerate(part):
            text, label = example[data.text_column] or "", example[data.label_column]
            # By convention, unlabelled sets have the label -1.
            multilabel = isinstance(label, list)
            values = label if multilabel else [label]
            labels = [names(value) for value in values if value not in (None, -1)]
            label = as_label(labels if multilabel else "".join(labels), data.label_separator)
            yield Row(f"{title}-{number}", text, label, split)


imdb = keras_dataset("imdb", ["negative", "positive"])
reuters = keras_dataset("reuters", [f"{i:02d}" for i in range(REUTERS_TOPICS)])


# === From rows to splits ===


def load(config: Config, preprocessing: Preprocessing | None = None) -> DatasetSplits:
    """Read the configured source, check it, and split it.

    Args:
        config: the configuration; its ``data`` fields are used.
        preprocessing: that of a model to evaluate; texts are read the same for any.

    Raises:
        DataProblem: the texts cannot be learnt from; the message names file, row, column or class.
    """
    data = config.data
    rows = find(SOURCES, data.source)(data)
    store, unreadable = TextStore(), []
    kept: dict[str, list[str]] = {name: [] for name in ("id", "label", "split", "group", "key")}
    # Labels and splits are few strings, often repeated: one object each saves memory.
    interned: dict[str, str] = {}
    for row in rows:
        problem = row.problem or _find_problem(row, data)
        if problem:
            unreadable.append((row.id, problem))
            continue
        store.append(row.text)
        values = (row.id, row.label, row.split, row.group, content_key(row.text))
        for name, value in zip(kept, values, strict=True):
            if name in ("label", "split"):
                value = interned.setdefault(value, value)
            kept[name].append(value)
    arrays = {name: np.array(values, dtype=object) for name, values in kept.items()}
    _check_labels(arrays["label"], unreadable, data)
    return _make_splits(arrays, store, unreadable, data)


def _make_splits(
    arrays: dict[str, np.ndarray],
    store: TextStore,
    unreadable: list[tuple[str, str]],
    data: DataConfig,
) -> DatasetSplits:
    separator = data.label_separator or ""
    positions = np.arange(len(arrays["id"]))
    source_splits = arrays["split"] if any(arrays["split"]) else None
    if data.limit and data.limit < len(positions):
        positions = sample_stratified(strata(arrays["label"], separator), source_splits, data)
    columns = ("id", "label", "key", "group")
    ids, labels, keys, groups = (arrays[name][positions] for name in columns)
    splits = split_examples(
        strata(labels, separator),
        keys,
        groups if any(groups) else None,
        None if source_splits is None else source_splits[positions],
        data,
    )
    used, training = splits != "", splits == TRAIN
    counts = Counter(name for label in labels[used] for name in split_labels(label, separator))
    missing = set(counts) - set(class_names(labels[training], separator))
    if missing:
        raise DataProblem(f"data: class {min(missing)!r} has no example in the training split.")
    lines = map("|".join, zip(splits[used], ids[used], keys[used], labels[used], strict=True))
    parts = {
        name: _split(store, ids, labels, positions, np.flatnonzero(splits == name))
        for name in (TRAIN, VALIDATION, TEST)
    }
    notes = {
        "classes": dict(sorted(counts.items())),
        "dropped_duplicates": int(np.count_nonzero(~used)),
    }
    if data.source == "tickets":
        notes["generated"] = True
        notes["best_reachable_accuracy"] = _label_accuracy(parts[TEST])
    return DatasetSplits(
        source=data.source,
        digest=hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest(),
        train=parts[TRAIN],
        validation=parts[VALIDATION],
        test=parts[TEST],
        duplicates=len(keys) - len(np.unique(keys)),
        unreadable=tuple(unreadable),
        notes=notes,
    )


def _split(
    store: TextStore,
    ids: np.ndarray,
    labels: np.ndarray,
    stored_at: np.ndarray,
    members: np.ndarray,
) -> Split:
    """Make a split whose texts are read from the store when they are needed.

    Args:
        store: all texts.
        ids, labels: (examples,) of all splits.
        stored_at: (examples,) positions of their texts in the store.
        members: (size,) positions of the split's own examples among them.
    """
    stored = stored_at[members]

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        texts = tf.numpy_function(lambda i: store.read(stored[i]), [positions], tf.string)
        return tf.ensure_shape(texts, (None,))

    return Split(ids[members], labels[members], fetch)


def _find_problem(row: Row, data: DataConfig) -> str:
    if not row.text.strip():
        return "the text is empty"
    # With several labels per text, an empty label means none of them.
    return "" if row.label or data.label_separator else "the label is missing"


def _check_labels(labels: np.ndarray, unreadable: list[tuple[str, str]], data: DataConfig) -> None:
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
        labelled = f"of one class, {names[0]!r}" if names else "without a label"
        raise DataProblem(f"data: all texts are {labelled}; two classes are needed.")
    if 2 * len(names) > len(labels):
        raise DataProblem(
            f"data.label_column: {data.label_column!r} has {len(names)} different values in "
            f"{len(labels)} rows; these are no classes. Is it swapped with data.text_column?"
        )


def _label_accuracy(test: Split) -> float:
    """Return the share of the test tickets whose label is the true intent."""
    drawn = [all_tickets()[int(number)] for number in test.ids]
    return float(np.mean([ticket.label == ticket.intent for ticket in drawn]))
