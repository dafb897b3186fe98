"""What the shared code knows of this project's domain, and nothing more.

Each domain supplies these names, with the same meaning:

========================  =========================================================================
``settings``              ``Data``, ``Model``, ``Train``: the domain's configuration fields;
                          ``MODEL_REQUIREMENTS``: packages that a served model needs as well
``data.load``             ``(Config, Preprocessing | None) -> Data``; a preprocessing is that of the
                          model which is to be evaluated on the data
``preprocessing``         ``Preprocessing`` (below) and ``augment(prepared, Uniform, Config)``
``model``                 ``build(Config, Preprocessing) -> keras.Model``, ``phases(Config)``,
                          ``vocabularies(Preprocessing)``; ``settle(Artifact, Data, Config)``:
                          the artifact to be saved, with what the validation split chooses once
                          the weights stand; ``LAYOUT``: how large weights are divided among
                          devices; ``FITTED``: patterns of the paths of weights that ``build``
                          computes from the data, which ``train.init_from`` leaves as built
``registry``              ``MODELS``, ``SOURCES``, ``LOSSES``, ``METRICS``: names and places of what
                          the domain has; losses and metrics are made by ``(Config,
                          Preprocessing)``
``objective``             ``example_weights``; ``reduced(raw, outputs,
                          Preprocessing)``: what is kept of a batch's outputs; ``answers`` of it
``baselines.measure``     ``(Data, Preprocessing, Config) -> list`` of names with test metrics
``report``                ``measure(Split, outputs, Preprocessing)``, whose first metric matters
                          most and is better the higher; ``draw(...)``; ``conclude(folder,
                          Artifact, Data, summary, Config)``: what is written once all is known
``inspection.inspect``    ``(Path, Config, names of given fields) -> Findings`` about a user's data
``answering``             what ``predict`` is asked and says: ``add_arguments(parser)``,
                          ``answer(Artifact, arguments, Config) -> rows`` and ``table(rows) ->
                          lines``, one after the other, never all at once
``inputs``                ``signature``, ``example`` and ``from_frame`` of a request to a served
                          model
========================  =========================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

# Draws numbers for the examples of a batch: a count -> (batch, count) float32 in [0, 1). An
# example's numbers depend on the seed, the step and its place in the whole batch.
Uniform = Callable[[int], tf.Tensor]


@dataclass(frozen=True)
class Split:
    """Examples that can be fetched by position, in any order, as often as needed.

    Attributes:
        ids: (size,) names of the examples, as text.
        targets: (size, …) what is to be predicted, as the source gives it.
        fetch: positions (batch,) int64 -> raw inputs (batch, …); runs inside tf.data.
        in_memory: fetching and preparing cost no more than reading a cache.
        lengths: (size,) how much of axis 1 of a prepared example counts; the rest is padding, which
            batches leave out. None: all examples have the same shape.
        drawn: positions that an epoch of training goes through; None: each example once.
    """

    ids: np.ndarray
    targets: np.ndarray
    fetch: Callable[[tf.Tensor], tf.Tensor]
    in_memory: bool = False
    lengths: np.ndarray | None = None
    drawn: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def epoch(self) -> "Split":
        """What an epoch of training goes through, as a split."""
        if self.drawn is None:
            return self
        drawn = self.drawn
        with tf.device("CPU:0"):
            positions = tf.constant(drawn, tf.int64)
        return replace(
            self,
            ids=self.ids[drawn],
            targets=self.targets[drawn],
            fetch=lambda places: self.fetch(tf.gather(positions, places)),
            lengths=None if self.lengths is None else self.lengths[drawn],
            drawn=None,
        )


@dataclass(frozen=True)
class Data:
    """Three splits and what is worth telling about them.

    Attributes:
        digest: a hash of all examples, targets and the split.
        duplicates: examples that stand in the data more than once; all copies in one split.
        unreadable: ``(id, reason)`` of the examples that could not be read.
        notes: further facts for the report and the summary.
    """

    source: str
    digest: str
    train: Split
    validation: Split
    test: Split
    duplicates: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def sizes(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}


@dataclass(frozen=True)
class Phase:
    """A part of training: some epochs with their own learning rate and trainable layers.

    Attributes:
        decay_rows: examples of an epoch from which on ``train.weight_decay`` falls, in proportion
            to their number; None: it is the same for any number.
    """

    name: str
    epochs: int
    learning_rate: float
    prepare: Callable[[keras.Model], None] = lambda model: None
    decay_rows: int | None = None

    def decay_scale(self, examples: int) -> float:
        """The factor of ``train.weight_decay`` where an epoch has so many examples."""
        return min(1.0, self.decay_rows / examples) if self.decay_rows else 1.0


class Preprocessing(Protocol):
    """From raw inputs to the numeric core's inputs: fitted on the training split, saved with the
    model, and the same in tf.data, ``predict`` and serving."""

    @classmethod
    def fit(cls, train: Split, config: Any) -> "Preprocessing":
        """Learn what is needed from the training split alone."""

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        """The costly, repeatable part, done once and cached: decode, resize, tokenise."""

    # How much of axis 1 of each prepared example counts (batch,) int, the rest being padding; None
    # where all have the same shape.
    lengths: Callable[[tf.Tensor], tf.Tensor] | None

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """The cheap part, done for each batch, such as scaling."""

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        """Both parts, as prediction and serving need them."""

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Targets (size, …) of a split as numbers; an unknown one is a ``DataProblem``."""

    def to_config(self) -> dict[str, Any]:
        """What was learnt, as JSON."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        """The inverse of ``to_config``."""

    def notes(self) -> dict[str, Any]:
        """What is worth telling about what was learnt, for the summary."""
