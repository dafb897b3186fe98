"""Sources of labelled images, and their training, validation and test splits.

A source takes the ``data`` fields and returns ``Images``. To add one, write such a function and
add a line to ``SOURCES`` in ``registry.py``.
"""

import csv
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .config import Config, DataConfig
from .datasets.downloads import keras_download, tfds_builder
from .datasets.folders import find_class_folders
from .datasets.images import Scan, content_hash, find_images, scan
from .datasets.splits import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    parse_split,
    sample_stratified,
    split_examples,
)
from .engine.data_path import require_path
from .engine.errors import DataProblem
from .engine.files import atomic_write, project_root
from .engine.interfaces import DatasetSplits, Split
from .engine.lookup import find
from .registry import SOURCES

log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Images:
    """Labelled images as a source provides them.

    Attributes:
        ids: (size,) names of the images.
        labels: (size,) names of their classes.
        pixels: (size, height, width, channels) uint8, or None where there are files.
        paths: (size,) paths of the files, or None where there are pixels.
        splits: (size,) train, validation or test, or None if the source has no splits.
        groups: (size,) groups to keep in one split ('' for none), or None.
        classes: names of classes that the source declares; one without images is an error.
    """

    ids: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray | None = None
    paths: np.ndarray | None = None
    splits: np.ndarray | None = None
    groups: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, selection: np.ndarray) -> "Images":
        """Select images by position or by a mask."""
        arrays = ("ids", "labels", "pixels", "paths", "splits", "groups")
        present = {name: getattr(self, name) for name in arrays if getattr(self, name) is not None}
        return replace(self, **{name: array[selection] for name, array in present.items()})


@dataclass(frozen=True)
class ImageSplit(Split):
    """A split of images.

    Attributes:
        shapes: (size, 3) their heights, widths and channels; (size, 2) without channels.
    """

    shapes: np.ndarray | None = None


# === Sources ===


def digits(data: DataConfig) -> Images:
    """Load 1,797 real handwritten digits of 8 x 8 grey pixels, shipped with scikit-learn.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = np.round(loaded.images * (255 / 16)).astype("uint8")[..., None]
    return _from_arrays(pixels, loaded.target, [str(i) for i in range(10)])


def folder(data: DataConfig) -> Images:
    """Find ``PATH/train/LABEL/*.png`` with optional ``val/`` and ``test/``, or ``PATH/LABEL/*``."""
    root = require_path(data, Path.is_dir, "folder")
    found = find_class_folders(root, find_images)
    paths, names, labels, splits = (np.array(column, dtype=str) for column in found.columns())
    return Images(
        ids=names,
        labels=labels,
        paths=paths,
        splits=splits if found.has_splits else None,
        classes=found.classes,
    )


def csv_manifest(data: DataConfig) -> Images:
    """Read a CSV file with a row for each image; paths are relative to the file's folder."""
    file = require_path(data, Path.is_file, "file")
    columns = [data.path_column, data.label_column]
    columns += [name for name in (data.group_column, data.split_column) if name]
    rows: list[list[str]] = []
    splits: list[str] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            for name in columns:
                if name not in (reader.fieldnames or []):
                    found = ", ".join(reader.fieldnames or [])
                    raise DataProblem(f"{file}: there is no column {name!r}; found: {found}.")
            for number, row in enumerate(reader, start=2):
                values = [(row[name] or "").strip() for name in columns]
                if not values[0] or not values[1]:
                    empty = columns[0] if not values[0] else columns[1]
                    raise DataProblem(f"{file}, line {number}: column {empty!r} is empty.")
                rows.append(values)
                if data.split_column:
                    place = f"{file}, line {number}"
                    splits.append(parse_split(values[-1], data.split_column, place))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataProblem(f"{file}: not a CSV file in UTF-8: {error}") from None
    table = np.array(rows, dtype=str).reshape(len(rows), len(columns))
    return Images(
        ids=table[:, 0],
        labels=table[:, 1],
        paths=np.array([str(file.parent / path) for path in table[:, 0]], dtype=str),
        splits=np.array(splits, dtype=str) if data.split_column else None,
        groups=table[:, 2] if data.group_column else None,
    )


def keras_dataset(name: str, classes: list[str]) -> Callable[[DataConfig], Images]:
    """Make a source of a data set that Keras downloads, with its own test split.

    Args:
        name: of a module of ``keras.datasets``.
        classes: names of the classes, in the order of their numbers.
    """

    def source(data: DataConfig) -> Images:
        with keras_download(name):
            train, test = getattr(keras.datasets, name).load_data()
        pixels = np.concatenate([train[0], test[0]])
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        splits = np.array([TRAIN] * len(train[0]) + [TEST] * len(test[0]))
        targets = np.concatenate([train[1], test[1]]).reshape(-1)
        return replace(_from_arrays(pixels, targets, classes), splits=splits)

    return source


def tfds(data: DataConfig) -> Images:
    """Load a TensorFlow Datasets set (``tfds:flowers102``), written once to ``.cache/tfds``.

    ``data.path`` is the folder of prepared sets (default: TFDS's own). Extra: ``tfds``.
    """
    builder = tfds_builder(data, ("image", "label"))
    return _extract_tfds(builder, project_root() / ".cache" / "tfds" / builder.info.full_name)


FASHION = "T-shirt,trouser,pullover,dress,coat,sandal,shirt,sneaker,bag,ankle boot"
CIFAR10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"

mnist = keras_dataset("mnist", [str(i) for i in range(10)])
fashion_mnist = keras_dataset("fashion_mnist", FASHION.split(","))
cifar10 = keras_dataset("cifar10", CIFAR10.split(","))
cifar100 = keras_dataset("cifar100", [f"{i:02d}" for i in range(100)])

# === From images to splits ===


def load(config: Config, preprocessing: Any = None) -> DatasetSplits:
    """Read the configured source, check it, and split it.

    Args:
        config: the configuration; its ``data`` fields are used.
        preprocessing: that of the model to evaluate; not needed for images.

    Raises:
        DataProblem: the images cannot be learnt from; the message names file, column or class.
    """
    data = config.data
    images = find(SOURCES, data.source)(data)
    _check_classes(images, data)
    if data.limit and data.limit < len(images):
        images = images.take(sample_stratified(images.labels, images.splits, data))
    images, scans, unreadable = _drop_unreadable(images, data)
    hashes = np.array([scan.sha256 for scan in scans])
    duplicates = len(hashes) - len(np.unique(hashes))
    splits = split_examples(images.labels, hashes, images.groups, images.splits, data)
    kept = splits != ""
    images, hashes, splits = images.take(kept), hashes[kept], splits[kept]
    shapes = np.array([(s.height, s.width, s.channels) for s in scans])[kept]
    lines = ["|".join(row) for row in zip(splits, images.ids, hashes, images.labels, strict=True)]
    counts = dict(zip(*np.unique(images.labels, return_counts=True), strict=True))
    return DatasetSplits(
        source=data.source,
        # Not sorted: caches and shuffling depend on the position of each image.
        digest=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        **{
            name: _split(images, shapes, np.flatnonzero(splits == name))
            for name in (TRAIN, VALIDATION, TEST)
        },
        duplicates=duplicates,
        unreadable=tuple(unreadable),
        notes={
            "classes": {str(name): int(count) for name, count in counts.items()},
            "dropped_duplicates": int(np.count_nonzero(~kept)),
        },
    )


def _from_arrays(pixels: np.ndarray, targets: np.ndarray, classes: list[str]) -> Images:
    ids = np.array([f"{i:06d}" for i in range(len(pixels))])
    return Images(ids=ids, labels=np.array(classes)[targets], pixels=pixels)


def _check_classes(images: Images, data: DataConfig) -> None:
    names = np.unique(images.labels)
    for name in images.classes:
        if name not in names:
            raise DataProblem(f"data.path: class {name!r} has no images in {data.path!r}.")
    if len(images) == 0:
        raise DataProblem(f"data.path: there are no images in {data.path!r}.")
    if len(names) < 2:
        raise DataProblem(f"data: all images are of one class, {str(names[0])!r}; two are needed.")


def _drop_unreadable(
    images: Images, data: DataConfig
) -> tuple[Images, list[Scan], list[tuple[str, str]]]:
    """Return the readable images, a scan of each, and ``(id, reason)`` of the others."""
    if images.pixels is not None:
        shape = images.pixels.shape[1:]
        return images, [Scan(content_hash(pixels), *shape) for pixels in images.pixels], []
    assert images.paths is not None, "a source has pixels or paths"
    scans = scan(list(images.paths))
    readable = np.array([not scanned.error for scanned in scans])
    bad = [(str(images.ids[i]), scans[i].error) for i in np.flatnonzero(~readable)]
    if len(bad) > data.max_unreadable * len(images):
        raise DataProblem(
            f"data: {len(bad)} of {len(images)} files are unreadable, more than "
            f"data.max_unreadable {data.max_unreadable:g} allows; the first is {bad[0][0]!r}: "
            f"{bad[0][1]}."
        )
    kept = images.take(readable)
    missing = set(np.unique(images.labels)) - set(np.unique(kept.labels))
    if missing:
        raise DataProblem(f"data: class {min(missing)!r} has no readable image.")
    return kept, [scanned for scanned in scans if not scanned.error], bad


def _split(images: Images, shapes: np.ndarray, positions: np.ndarray) -> ImageSplit:
    own = images.take(positions)
    with tf.device("CPU:0"):
        if own.pixels is not None:
            pixels = tf.constant(own.pixels)
            return ImageSplit(
                own.ids,
                own.labels,
                lambda indices: tf.gather(pixels, indices),
                in_memory=True,
                shapes=shapes[positions],
            )
        paths = tf.constant(own.paths)

    def read(indices: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(tf.io.read_file, tf.gather(paths, indices))

    return ImageSplit(own.ids, own.labels, read, shapes=shapes[positions])


def _extract_tfds(builder, target: Path) -> Images:
    """Write a TFDS set's encoded images and a manifest on first use; return the manifest."""
    import tensorflow_datasets

    manifest = target / "manifest.csv"
    if not manifest.is_file():
        log.info("Writing %s to %s", builder.info.full_name, target)
        names = builder.info.features["label"]
        with atomic_write(manifest) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            for split in builder.info.splits:
                decoders = {"image": tensorflow_datasets.decode.SkipDecoding()}
                examples = builder.as_dataset(split=split, decoders=decoders)
                for number, example in enumerate(examples.as_numpy_iterator()):
                    path = target / split / f"{number:07d}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(example["image"])
                    label = names.int2str(example["label"])
                    writer.writerow([f"{split}/{path.name}", label, split])
    with manifest.open(newline="") as file:
        table = np.array(list(csv.reader(file)), dtype=str)
    splits = np.array([SPLIT_NAMES.get(name, "") for name in table[:, 2]])
    images = Images(
        ids=table[:, 0],
        labels=table[:, 1],
        paths=np.array([str(target / path) for path in table[:, 0]]),
        splits=splits if TEST in splits or VALIDATION in splits else None,
    )
    return images.take(splits != "")
