"""Prepared examples (decoded, resized, tokenised) kept in memory or on disk, by position.

A cache holds every example of a split once, in the split's order, so any shuffling can read it.
On disk it is one ``.npy`` file, named after what it was made from and used again by later runs.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from .contract import Preprocessing, Split
from .files import project_root, written_whole

log = logging.getLogger(__package__)

CHUNK = 256  # examples prepared at a time
AUTO_LIMIT = 2**30  # bytes that ``auto`` keeps in memory


def prepared(split: Split, preprocessing: Preprocessing, mode: str, digest: str) -> Split:
    """The split with ``fetch`` giving prepared examples.

    Args:
        mode: ``auto``, ``memory``, ``disk`` or ``none`` (prepare each time anew).
        digest: identifies the split's examples; together with the preprocessing it names the cache.
    """
    ready = _stored(split, preprocessing, mode, digest)
    return replace(ready, lengths=_lengths(ready, preprocessing))


def _stored(split: Split, preprocessing: Preprocessing, mode: str, digest: str) -> Split:
    if mode == "none" or split.in_memory or len(split) == 0:
        return replace(split, fetch=lambda positions: preprocessing.prepare(split.fetch(positions)))
    chunks = _chunks(split, preprocessing)
    shape, dtype = chunks.element_spec.shape[1:], chunks.element_spec.dtype.as_numpy_dtype
    total = len(split) * int(np.prod(shape)) * np.dtype(dtype).itemsize
    if mode == "disk" or (mode == "auto" and total > AUTO_LIMIT):
        return replace(split, fetch=_from_disk(_file_for(preprocessing, digest), chunks, split))
    log.info("Preparing %d examples in memory (%.0f MB)", len(split), total / 1e6)
    with tf.device("CPU:0"):
        stored = tf.constant(np.concatenate(list(chunks.as_numpy_iterator())))
    return replace(split, fetch=lambda positions: tf.gather(stored, positions), in_memory=True)


def _lengths(ready: Split, preprocessing: Preprocessing) -> np.ndarray | None:
    """Lengths (size,) int32 of prepared examples; None where all have the same shape."""
    if preprocessing.lengths is None or len(ready) == 0:
        return None
    starts = range(0, len(ready), CHUNK)
    chunks = (ready.fetch(tf.range(i, min(i + CHUNK, len(ready)), dtype=tf.int64)) for i in starts)
    return np.concatenate([np.asarray(preprocessing.lengths(c), "int32") for c in chunks])


def _chunks(split: Split, preprocessing: Preprocessing) -> tf.data.Dataset:
    def chunk(start: tf.Tensor) -> tf.Tensor:
        positions = tf.range(start, tf.minimum(start + CHUNK, len(split)))
        return preprocessing.prepare(split.fetch(positions))

    starts = tf.data.Dataset.range(0, len(split), CHUNK)
    return starts.map(chunk, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _file_for(preprocessing: Preprocessing, digest: str) -> Path:
    made_from = json.dumps([digest, preprocessing.to_config()], sort_keys=True)
    name = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    return project_root() / ".cache" / "prepared" / f"{name}.npy"


def _from_disk(
    file: Path, chunks: tf.data.Dataset, split: Split
) -> Callable[[tf.Tensor], tf.Tensor]:
    spec = chunks.element_spec
    if not file.is_file():
        log.info("Preparing %d examples on disk: %s", len(split), file)
        with written_whole(file) as beside:
            shape = (len(split), *spec.shape[1:])
            store = np.lib.format.open_memmap(beside, "w+", spec.dtype.as_numpy_dtype, shape)
            start = 0
            for chunk in chunks.as_numpy_iterator():
                store[start : start + len(chunk)] = chunk
                start += len(chunk)
            store.flush()
            del store
    stored = np.load(file, mmap_mode="r")

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(lambda index: stored[index], [positions], spec.dtype, False)
        return tf.ensure_shape(batch, spec.shape)

    return fetch
