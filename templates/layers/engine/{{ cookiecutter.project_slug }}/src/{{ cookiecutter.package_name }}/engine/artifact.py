"""The trained model as one file: the network and the preprocessing that belongs to it.

``model.keras`` is an ordinary Keras file (``keras.models.load_model`` returns the network) with one
more entry in its zip archive, ``preprocessing.json``. So the two cannot be mixed up.
"""

import contextlib
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .attachments import read_attachments
from .errors import DataProblem, UsageProblem
from .files import atomic_write
from .interfaces import Explanation, Preprocessing, Split, Task, call_network

PREPROCESSING = "preprocessing.json"
EXPLAINED_ROWS = 128  # at a time: bounds the memory of embeddings and feature maps


@dataclass(frozen=True)
class Artifact:
    """A network, its preprocessing, and the task that both are for.

    Attributes:
        preprocessing: of the project's own class.
        attachments: what features have added to the file that it was loaded from, by name.
    """

    network: keras.Model
    preprocessing: Any
    task: Task
    attachments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, raw: Any) -> np.ndarray:
        """Return outputs (batch, …) of ``Task.infer`` for raw inputs (batch, …)."""
        return self.outputs(self.preprocessing(raw))

    def outputs(self, prepared: Any) -> np.ndarray:
        """Return outputs (batch, …) of ``Task.infer`` for preprocessed inputs (batch, …)."""
        # As arrays: the network may run on another backend than the preprocessing.
        return keras.ops.convert_to_numpy(self._run(tf.nest.map_structure(np.asarray, prepared)))

    def predict_batch(self, raw: Any) -> np.ndarray:
        """Return postprocessed outputs (batch, …) for raw inputs (batch, …)."""
        return self.task.postprocess(raw, self(raw), self.preprocessing)

    def answer(self, split: Split, config: Any, batch_size: int) -> list[dict[str, Any]]:
        """Return an answer for each example of a split, in its order.

        They are what the model writes (``Task.respond``), or decoded outputs.

        Args:
            split: any split of the task's data.
            config: of the model's run; None: unknown.
            batch_size: examples that are predicted at once.
        """
        if self.task.respond is not None:
            return self.task.respond(self, split, config)
        outputs = self.predict_split(split, batch_size)
        return self.task.decode_predictions(outputs, self.preprocessing)

    def predict_split(self, split: Split, batch_size: int) -> np.ndarray:
        """Return postprocessed outputs (size, …) for a split, in its order.

        Args:
            split: any split of the task's data.
            batch_size: examples that are predicted at once.
        """
        return np.concatenate([self.predict_batch(raw) for raw in split.batches(batch_size)])

    def explain(
        self,
        split: Split,
        positions: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Explanation]:
        """Explain the outputs for examples of a split, see ``Task.explain``.

        Args:
            split: the examples.
            positions: (batch,) of those to explain; None: all.
            names: (batch,) of classes or items to explain; None: what the model predicts.

        Raises:
            UsageProblem: the task explains nothing.
        """
        if self.task.explain is None:
            raise UsageProblem("task.py: it has no 'explain' for the models of this project.")
        positions = np.arange(len(split)) if positions is None else np.asarray(positions)
        found: list[Explanation] = []
        for start in range(0, len(positions), EXPLAINED_ROWS):
            part = slice(start, start + EXPLAINED_ROWS)
            own = None if names is None else names[part]
            found += self.task.explain(self, split, positions[part], own)
        return found

    def add_explanations(self, split: Split, answers: Sequence[dict[str, Any]]) -> None:
        """Add ``explanation`` as JSON to each answer; a list, if ``Task.explains_each_score``.

        Args:
            split: the examples.
            answers: to all of them, in their order.
        """
        if not self.task.explains_each_score:
            for answer, explanation in zip(answers, self.explain(split), strict=True):
                answer["explanation"] = explanation.to_json()
            return
        positions = np.repeat(np.arange(len(answers)), [len(row["scores"]) for row in answers])
        names = [name for answer in answers for name in answer["scores"]]
        each = iter(self.explain(split, positions, names))
        for answer in answers:
            answer["explanation"] = [next(each).to_json() for _ in answer["scores"]]

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What other modules make once for this model, such as compiled functions, by key."""
        return {}

    @cached_property
    def _run(self) -> Callable[[Any], Any]:
        """The network as one program, whatever the size of a batch."""

        def run(prepared: Any) -> Any:
            return self.task.infer(self.network, prepared)

        if keras.backend.backend() != "tensorflow":
            return run  # those would compile it for each shape
        program = tf.function(run, reduce_retracing=True)
        if self.task.infer is not call_network:
            return program  # it may be given more than the network takes
        # Traced before the first call: TensorFlow counts the traces that calls need, those of all
        # models together, and warns of many.
        with contextlib.suppress(AttributeError):  # only functional networks know their input
            signature = tf.nest.map_structure(_as_spec, self.network.input)
            program.get_concrete_function(signature)
        return program

    def save(self, path: Path) -> None:
        """Write both parts to one file, in one step."""
        with atomic_write(path) as beside:
            self.network.save(beside)
            with zipfile.ZipFile(beside, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(PREPROCESSING, json.dumps(self.preprocessing.to_config()))

    def weights_sha256(self) -> str:
        """Return a hash of all weights, in the network's order."""
        return hash_arrays(self.network.get_weights())


def hash_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the bytes of arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def load(path: Path, task: Task) -> Artifact:
    """Read a file that ``Artifact.save`` wrote. Code in the file is refused, never run.

    Args:
        task: its modules define the custom layers of the network.

    Raises:
        DataProblem: it is not such a file, is damaged, or needs code of its own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(PREPROCESSING))
        # Before the network: layers may be registered by what the preprocessing imports.
        preprocessing = task.preprocessing.from_config(config)
        network = keras.models.load_model(path, compile=False, safe_mode=True)
        return Artifact(network, preprocessing, task, read_attachments(path))
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


def copy_weights(network: keras.Model, preprocessing: Preprocessing, earlier: Artifact) -> int:
    """Copy an earlier model's weights where layer, name and shape agree.

    Weights with an entry for each class or id (``Task.vocabularies``) are matched entry by entry,
    so that some may be added or removed. Those that ``build_model`` computes from the data
    (``Task.weights_from_data``) stay as they were built.

    Args:
        network: the new network, whose weights are changed.
        preprocessing: the one that belongs to it.

    Returns:
        The number of copied weights; 0 if only those of the last layer agree.
    """
    task = earlier.task
    old_entries, new_entries = map(task.vocabularies, (earlier.preprocessing, preprocessing))
    old_weights = {weight.path: weight for weight in earlier.network.weights}
    copied = {True: 0, False: 0}  # of the layer that counts outputs, of the others
    for weight in network.weights:
        if weight.path not in old_weights:
            continue
        if any(re.search(pattern, weight.path) for pattern in task.weights_from_data):
            continue
        old, new = np.array(old_weights[weight.path]), np.array(weight)
        names = weight.path.split("/")
        layer = next((name for name in (names[0], names[-1]) if name in new_entries), "")
        has_entries = layer in old_entries
        if has_entries:
            axis, entries = new_entries[layer]
            place = {entry: place for place, entry in enumerate(old_entries[layer][1])}
            pairs = [(place[entry], i) for i, entry in enumerate(entries) if entry in place]
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
        copied[has_entries and new_entries[layer][0] == -1] += 1
    return sum(copied.values()) if copied[False] else 0


def _as_spec(tensor: keras.KerasTensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)
