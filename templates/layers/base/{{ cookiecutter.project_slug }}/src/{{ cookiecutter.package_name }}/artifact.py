"""The trained model as one file: the numeric core and the preprocessing that belongs to it.

``model.keras`` is an ordinary Keras file (``keras.models.load_model`` gives the core) with one
more entry in its zip archive, ``preprocessing.json``. So the two cannot be mixed up.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import model as _registers_custom_layers  # noqa: F401
from . import objective
from .contract import Split
from .errors import DataProblem
from .files import written_whole
from .preprocessing import Preprocessing

PREPROCESSING = "preprocessing.json"


@dataclass(frozen=True)
class Artifact:
    """A core and its preprocessing."""

    core: keras.Model
    preprocessing: Preprocessing

    def __call__(self, raw: Any) -> np.ndarray:
        """Outputs (batch, …) of the core for raw inputs (batch, …)."""
        # As arrays: the core may run on another backend than the preprocessing.
        prepared = tf.nest.map_structure(np.asarray, self.preprocessing(raw))
        return keras.ops.convert_to_numpy(self._run(prepared))

    def reduced(self, raw: Any) -> np.ndarray:
        """What is kept of the outputs (batch, …) for raw inputs (batch, …)."""
        return objective.reduced(raw, self(raw), self.preprocessing)

    def predict_split(self, split: Split, batch_size: int) -> np.ndarray:
        """What is kept of the outputs (size, …) for a split of raw examples, in its order."""
        return np.concatenate([self.reduced(raw) for raw in _raw_batches(split, batch_size)])

    @cached_property
    def _run(self) -> Callable[[Any], Any]:
        """The core as one program, whatever the size of a batch."""

        def run(prepared: Any) -> Any:
            return self.core(prepared, training=False)

        if keras.backend.backend() != "tensorflow":
            return run  # those would compile it for each shape
        return tf.function(run, reduce_retracing=True)

    def save(self, path: Path) -> None:
        """Write both parts to one file, in one step."""
        with written_whole(path) as beside:
            self.core.save(beside)
            with zipfile.ZipFile(beside, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(PREPROCESSING, json.dumps(self.preprocessing.to_config()))

    def weights_sha256(self) -> str:
        """A hash of all weights, in the core's order."""
        digest = hashlib.sha256()
        for weight in self.core.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()


def load(path: Path) -> Artifact:
    """Read a file that ``Artifact.save`` wrote. Code that it may carry is refused, not run.

    Raises:
        DataProblem: it is not such a file, is damaged, or needs code of its own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(PREPROCESSING))
        # First the preprocessing: with it comes what the core's layers may be made of.
        preprocessing = Preprocessing.from_config(config)
        core = keras.models.load_model(path, compile=False, safe_mode=True)
        return Artifact(core, preprocessing)
    except FileNotFoundError:
        raise DataProblem(f"model file: {str(path)!r} does not exist.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise DataProblem(
            f"model file: {str(path)!r} is no .keras file, or a damaged one."
        ) from None
    except KeyError:
        raise DataProblem(
            f"model file: {str(path)!r} was not saved by this project: it has no {PREPROCESSING}."
        ) from None
    except (ValueError, TypeError, OSError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataProblem(f"model file: {str(path)!r} is refused: {reason}") from None


def warm_start(
    core: keras.Model,
    earlier: Artifact,
    vocabularies: dict[str, Any],
    now: Any,
    fitted: Sequence[str] = (),
) -> int:
    """Copy an earlier model's weights where layer, name and shape agree.

    Layers that count classes or ids are matched entry by entry, so some may be added or removed.

    Args:
        core: the new model, whose weights are changed.
        vocabularies: name of a layer or weight -> (axis, entries) of the earlier model.
        now: the same of the new one.
        fitted: patterns of the paths of weights that were computed from the new model's data; they
            stay as they are.

    Returns:
        How many weights were copied; 0 if none but the last layer's agree.
    """
    old_weights = {weight.path: weight for weight in earlier.core.weights}
    copied = {True: 0, False: 0}  # of layers whose outputs are counted, of others
    for weight in core.weights:
        if weight.path not in old_weights:
            continue
        if any(re.search(pattern, weight.path) for pattern in fitted):
            continue
        old, new = np.array(old_weights[weight.path]), np.array(weight)
        names = weight.path.split("/")
        layer = next((name for name in (names[0], names[-1]) if name in now), "")
        counts_entries = layer in vocabularies
        if counts_entries:
            axis, entries = now[layer]
            before = {entry: place for place, entry in enumerate(vocabularies[layer][1])}
            pairs = [(before[entry], i) for i, entry in enumerate(entries) if entry in before]
            old, new = np.moveaxis(old, axis, 0), np.moveaxis(new, axis, 0)
            if old.shape[1:] != new.shape[1:]:
                continue
            for source, target in pairs:
                new[target] = old[source]
            weight.assign(np.moveaxis(new, 0, axis))
        elif old.shape == new.shape:
            weight.assign(old)
        else:
            continue
        copied[counts_entries and now[layer][0] == -1] += 1
    return sum(copied.values()) if copied[False] else 0


def _raw_batches(split: Split, batch_size: int) -> Iterator[tf.Tensor]:
    for start in range(0, len(split), batch_size):
        yield split.fetch(tf.range(start, min(start + batch_size, len(split)), dtype=tf.int64))
