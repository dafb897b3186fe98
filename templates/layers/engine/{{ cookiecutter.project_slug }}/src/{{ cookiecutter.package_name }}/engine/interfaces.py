"""What the engine knows of a project's domain: the ``Task``, and the types that it speaks of."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from .errors import UsageProblem
from .lookup import find
from .weighted_metrics import WeightedMetric

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import pandas as pd

    from .artifact import Artifact
    from .findings import Findings
    from .runs import Summary

# Draws random numbers for the examples of a batch: a count -> (batch, count) float32 in [0, 1). The
# numbers of an example depend on the seed, the step and the example's place in the global batch.
Uniform = Callable[[int], tf.Tensor]

Config = Any  # the project's own: it has more fields than ``BaseConfig``
Metrics = dict[str, float]
HIDDEN = "(too few)"  # as a value of ``Task.slices``: of these examples nothing may be said


# === Data ===


@dataclass(frozen=True)
class Split:
    """Examples that can be fetched by position, in any order, as often as needed.

    Attributes:
        ids: (size,) names of the examples, as text.
        targets: (size, …) what is to be predicted, as the source gives it.
        fetch: positions (batch,) int64 -> raw inputs (batch, …); runs inside tf.data.
        in_memory: fetching and preparing cost no more than reading a cache.
        lengths: (size,) how much of axis 1 of a prepared example counts; the rest is padding, which
            batches leave out; of prepared dicts such lengths by entry. None: all examples have the
            same shape.
        sampled: positions that an epoch of training goes through; None: each example once.
        groups: (size,) text; examples of one group, such as a patient, resemble each other, and are
            drawn together where intervals are estimated. '' or None: each is on its own.
    """

    ids: np.ndarray
    targets: np.ndarray
    fetch: Callable[[tf.Tensor], Any]
    in_memory: bool = False
    lengths: np.ndarray | dict[str, np.ndarray] | None = None
    sampled: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: np.ndarray) -> "Split":
        """Return some examples as a split of the same type.

        Args:
            positions: (count,) of the examples, in any order, as often as wanted.
        """
        with tf.device("CPU:0"):
            places = tf.constant(positions, tf.int64)
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        taken = {name: _take(value, positions, len(self)) for name, value in parts.items()}
        taken |= {"fetch": lambda at: self.fetch(tf.gather(places, at)), "sampled": None}
        return replace(self, **taken)

    def batches(self, size: int) -> Iterator[Any]:
        """Yield the raw inputs of all examples in their order, so many at a time.

        Args:
            size: of a batch; the last one may be smaller.
        """
        for start in range(0, len(self), size):
            yield self.fetch(tf.range(start, min(start + size, len(self)), dtype=tf.int64))

    def epoch(self) -> "Split":
        """Return what an epoch of training goes through, as a split of its own."""
        return self if self.sampled is None else self.take(self.sampled)


def _take(value: Any, positions: np.ndarray, size: int) -> Any:
    """Return the part of an attribute that belongs to examples, or the whole of any other."""
    if isinstance(value, dict):
        return {name: _take(part, positions, size) for name, part in value.items()}
    if isinstance(value, np.ndarray) and value.shape[:1] == (size,):
        return value[positions]
    return value


@dataclass(frozen=True)
class Requests:
    """Rows to predict that somebody sent, some of which may be wrong.

    Attributes:
        split: the right ones in their order, without targets; nothing of them can fail later.
        problems: position of each wrong row -> what is wrong, for whoever sent it, beginning with
            the field and a colon where it is one field; never a person's value.
    """

    split: Split
    problems: Mapping[int, str]


@dataclass(frozen=True)
class DatasetSplits:
    """Training, validation and test split of a source, with facts for the report.

    Attributes:
        source: name of the source.
        digest: hash of all examples, targets and the division into splits.
        duplicates: examples that occur more than once; all copies are in one split.
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
        """Return the number of examples of each split."""
        return {name: len(split) for name, split in self.splits.items()}


class Preprocessing(Protocol):
    """Maps raw inputs to the inputs of the network: fitted on the training split, saved with the
    model, and the same in tf.data, ``predict`` and serving."""

    # How much of axis 1 of each prepared example counts (batch,) int, the rest being padding; of
    # prepared dicts such lengths by entry, for the entries that have padding. None where all have
    # the same shape.
    @property
    def lengths(self) -> Callable[[Any], Any] | None: ...

    # The length of axis 1 of the longest input; None where all have the same shape.
    @property
    def max_length(self) -> int | None: ...

    @classmethod
    def fit(cls, train: Any, config: Config) -> Any:
        """Learn what is needed from the training split alone.

        Args:
            train: the training split.
            config: of the run.
        """

    def prepare(self, raw: Any) -> Any:
        """Do the costly, repeatable part, whose result is cached: decode, resize, tokenise.

        Returns:
            A tensor (batch, …), or a dict of such tensors by entry.
        """

    def finish(self, prepared: Any) -> Any:
        """Do the cheap part for each batch, such as scaling."""

    def __call__(self, raw: Any) -> Any:
        """Do both parts, as prediction and serving need them."""

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return targets (size, …) of a split as numbers.

        Raises:
            DataProblem: a target is unknown.
        """

    def to_config(self) -> dict[str, Any]:
        """Return what was learnt, as JSON."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Undo ``to_config``."""

    def notes(self) -> dict[str, Any]:
        """Return facts about what was learnt, for the summary."""


# === Training ===


@dataclass(frozen=True)
class Phase:
    """A part of training: some epochs with their own learning rate and trainable layers.

    Attributes:
        prepare: called with the network when the phase begins, to freeze or unfreeze layers.
        weight_decay: decoupled decay; None: ``train.weight_decay``.
        decay_rows: examples of an epoch from which on the decay falls, in proportion to their
            number; None: it is the same for any number.
        use_xla: compile the step with XLA; on TensorFlow with one device, elsewhere ignored.
    """

    name: str
    epochs: int
    learning_rate: float
    prepare: Callable[[keras.Model], None] = lambda network: None
    weight_decay: float | None = None
    decay_rows: int | None = None
    use_xla: bool = False

    def decay(self, configured: float | None, examples: int) -> float:
        """Return the weight decay.

        Args:
            configured: ``train.weight_decay``; None: no decay, unless the phase has its own.
            examples: of an epoch.
        """
        decay = configured if self.weight_decay is None else self.weight_decay
        return (decay or 0.0) * (min(1.0, self.decay_rows / examples) if self.decay_rows else 1.0)


# === The task ===


class Explanation(Protocol):
    """Why a model scored a class or an item as it did."""

    def summarize(self) -> str:
        """Return what matters most, in a few words."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with ``target``, the class or item, and ``summary`` at least."""


# See ``Task.explain``: (model, split, positions, names or None) -> an explanation each.
Explain = Callable[["Artifact", Split, np.ndarray, "Sequence[str] | None"], Sequence[Any]]


def keep_examples(prepared: Any, targets: Any, uniform: Uniform, config: Config) -> tuple[Any, Any]:
    """Return prepared inputs and targets unchanged: no augmentation."""
    return prepared, targets


def finish_inputs(prepared: Any, targets: Any, preprocessing: Any) -> tuple[Any, Any, None]:
    """Return finished inputs and the targets as they are; each example weighs as a whole."""
    return preprocessing.finish(prepared), targets, None


def call_network(network: keras.Model, inputs: Any) -> Any:
    """Return the outputs of the network as they are."""
    return network(inputs, training=False)


def freeze_no_weights(network: keras.Model) -> list[keras.Variable]:
    """Return an empty list: checkpoints hold all weights."""
    return []


def keep_outputs(raw: Any, outputs: np.ndarray, preprocessing: Any) -> np.ndarray:
    """Return the outputs unchanged."""
    return outputs


def keep_model(model: "Artifact", data: DatasetSplits, config: Config) -> "Artifact":
    """Return the model unchanged."""
    return model


def weigh_equally(targets: np.ndarray, preprocessing: Any, config: Config) -> None:
    """Return None: all examples weigh the same."""


def train_in_one_phase(config: Config) -> list[Phase]:
    """Return one phase with ``train.epochs`` epochs in which all layers learn."""
    return [Phase("all", config.train.epochs, config.train.learning_rate)]


def no_vocabularies(preprocessing: Any) -> dict[str, Any]:
    """Return an empty table."""
    return {}


def no_weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: Any
) -> dict[str, WeightedMetric]:
    """Return an empty table: no metric has an interval."""
    return {}


def no_slices(split: Split, preprocessing: Any) -> dict[str, np.ndarray]:
    """Return an empty table."""
    return {}


def keep_labels(texts: np.ndarray, preprocessing: Any) -> np.ndarray:
    """Return the texts unchanged: that is how the source gives labels."""
    return texts


def describe_no_inputs(split: Split, preprocessing: Any) -> dict[str, np.ndarray]:
    """Return an empty table: nothing is known of the inputs that could be watched."""
    return {}


def read_no_columns(split: Split, names: Sequence[str], config: Config) -> dict[str, np.ndarray]:
    """Refuse all names."""
    raise UsageProblem(f"data.slice_columns: {names[0]!r}: this project's data has no such column.")


def no_baselines(data: DatasetSplits, preprocessing: Any, config: Config) -> list[dict[str, Any]]:
    """Return an empty list."""
    return []


def draw_nothing(
    folder: "Path", name: str, split: Split, outputs: np.ndarray, preprocessing: Any
) -> None:
    """Write no figures."""


def write_nothing(
    folder: "Path", model: "Artifact", data: DatasetSplits, summary: "Summary", config: Config
) -> None:
    """Write no further report."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a domain supplies to the engine; ``task.py`` makes the project's one.

    Each part has the same meaning in every domain. Parts with a default may be left out. All are
    checked when the task is made, before anything is trained.

    Attributes:
        name: of the template, for the summary of a run.
        load: reads the configured source and splits it; a preprocessing is that of a model which
            is to be evaluated on the data, else None.
        preprocessing: the class whose ``fit`` learns from the training split.
        build_model: the network to train, from the configuration and the fitted preprocessing.
        losses, metrics, callbacks: tables of ``registry.py``: name -> function or its place,
            ``(config, preprocessing)`` -> Keras loss, metric or callback.
        measure: metrics of the outputs for a split. The first one matters most; higher is better,
            except where ``lower_is_better`` names them.
        decode_predictions: outputs (batch, …) -> a dict with ``prediction`` and ``scores`` each.
        predict: answers for the arguments of ``predict``, one after the other.
        format_predictions: answers -> lines of the printed table.
        signature, example: a request to the model that MLflow serves: its columns and those of the
            answer; one request.
        request_schema: JSON Schema (draft 2020-12) of a row to predict, from the preprocessing,
            with ``examples``. Its texts are for people. Bytes have ``contentEncoding`` base64 and a
            ``contentMediaType``; numbers a unit as ``x-unit``; a list that may come as one text has
            the sign between its entries as ``x-separator``.
        read_requests: rows as JSON gives them, with base64 decoded to bytes; the preprocessing; the
            configuration of the model's run, which says where the histories of known users are, or
            None to go by the rows alone. A wrong row is a problem of its own.
        augment: prepared inputs and encoded targets (batch, …) -> both, changed at random.
        make_batch: prepared inputs, encoded targets, the preprocessing -> the inputs of the
            network, targets, and weights (batch, …) of the loss or None; for each batch, inside
            tf.data, after it was cut to its length. Weights with more axes than (batch,), such as
            one for each token, are those of a mean: the loss is their sum with the values of the
            loss, divided by their sum in the whole batch, and metrics count where they are not 0.
        infer: network and preprocessed inputs (batch, …) -> the outputs that are measured, served
            and exported, as a tensor (batch, …); for outputs that would be too large, such as a
            score for each token of a vocabulary.
        respond: model, split and the configuration or None -> an answer for each example, as
            ``decode_predictions`` returns them, of models that write their answers; None: answers
            are decoded from outputs.
        frozen_weights: weights of the network that no phase trains and that it was built with,
            such as those of a preset: checkpoints leave them out and know their digest.
        lower_is_better: names of the metrics of ``measure`` of which lower values are better.
        phases: the parts of training.
        vocabularies: name of a layer -> (axis, entries) of weights with an entry for each class or
            id, which ``train.init_from`` matches entry by entry.
        sample_weights: (size,) weight of each training example's loss, their mean 1; None: alike.
        finalize: the model to save: what the validation split decides once training is over.
        postprocess: raw inputs and outputs of a batch -> the part of the outputs to keep.
        weighted_metrics: those metrics of ``measure`` that can be had for weighted examples, the
            first among them: from them come intervals, slices and comparisons of models.
        slices: columns (size,) of text or numbers, by whose values or bands a split is measured.
        read_columns: further columns (size,) of the source by name, for the examples of a split.
        describe_inputs: columns (size,) of numbers or text that describe the inputs of examples,
            with targets or without, such as brightness or length: what is watched once the model is
            in use. Missing are NaN and ''.
        read_file: what ``predict`` reads from a file or folder, in parts, wrong rows as problems;
            None: a file has a row as JSON in each line, see ``read_requests``.
        make_writer: for models that write: what continues up to so many prompts at once, a token of
            each at a time; the chat service calls it.
        parse_labels: labels (size,) that somebody wrote into a file, as text -> targets (size, …),
            as the source gives them.
        simple_inputs: the examples of a split as a matrix (size, features), dense or sparse, for
            simple models; None where there is no such thing.
        measure_baselines: rows ``{"name": …, "metrics": {"test/…": …}, "outputs": …}`` of simple
            models; the outputs for the test split are as the model's own.
        draw_figures: writes figures and tables about a split to a folder.
        write_report: writes what needs the finished summary.
        inspect: what is to be known of a user's file or folder before training.
        explain: why the model answers as it does for the examples of a split at positions (batch,),
            an explanation each; of the classes or items with these names (batch,), or of what the
            model predicts where there is None. ``predict --explain`` and the report call it.
        explains_each_score: whether each of the scores of an answer is explained, as items that
            are recommended, or the prediction alone.
        sharding_rules: pattern of the path of a weight -> an axis of the mesh or None for each of
            its axes, for ``runtime.strategy model_parallel``.
        weights_from_data: patterns of the paths of weights that ``build_model`` computes from the
            data: ``train.init_from`` leaves them as they were built.
        requirements: packages that a served model needs besides those of every project.
        notice: what must stand wherever the model's answers or metrics are shown; '' for nothing.
        has_private_examples: whether examples are of persons, so that reports show none of them.
    """

    name: str
    load: Callable[[Config, Preprocessing | None], DatasetSplits]
    preprocessing: type[Preprocessing]
    build_model: Callable[[Config, Any], keras.Model]
    losses: Mapping[str, Any]
    measure: Callable[[Split, np.ndarray, Any], Metrics]
    decode_predictions: Callable[[np.ndarray, Any], list[dict[str, Any]]]
    predict: "Callable[[Artifact, argparse.Namespace, Config], Iterator[dict[str, Any]]]"
    format_predictions: Callable[[Iterator[dict[str, Any]]], Iterator[str]]
    signature: Callable[[Any], dict[str, Any]]
    example: "Callable[[DatasetSplits, Any], pd.DataFrame]"
    request_schema: Callable[[Any], dict[str, Any]]
    read_requests: Callable[[Sequence[Mapping[str, Any]], Any, Config | None], Requests]

    metrics: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Mapping[str, Any] = field(default_factory=dict)
    augment: Callable[[Any, Any, Uniform, Config], tuple[Any, Any]] = keep_examples
    make_batch: Callable[[Any, Any, Any], tuple[Any, Any, Any]] = finish_inputs
    infer: Callable[[keras.Model, Any], Any] = call_network
    respond: "Callable[[Artifact, Split, Config | None], list[dict[str, Any]]] | None" = None
    frozen_weights: Callable[[keras.Model], list[keras.Variable]] = freeze_no_weights
    lower_is_better: tuple[str, ...] = ()
    phases: Callable[[Config], list[Phase]] = train_in_one_phase
    vocabularies: Callable[[Any], dict[str, Any]] = no_vocabularies
    sample_weights: Callable[[np.ndarray, Any, Config], np.ndarray | None] = weigh_equally
    finalize: "Callable[[Artifact, DatasetSplits, Config], Artifact]" = keep_model
    postprocess: Callable[[Any, np.ndarray, Any], np.ndarray] = keep_outputs
    weighted_metrics: Callable[[Split, np.ndarray, Any], Mapping[str, WeightedMetric]] = (
        no_weighted_metrics
    )
    slices: Callable[[Split, Any], Mapping[str, np.ndarray]] = no_slices
    read_columns: Callable[[Split, Sequence[str], Config], Mapping[str, np.ndarray]] = (
        read_no_columns
    )
    describe_inputs: Callable[[Split, Any], Mapping[str, np.ndarray]] = describe_no_inputs
    read_file: "Callable[[Path, Any, Config], Iterator[Requests]] | None" = None
    make_writer: "Callable[[Artifact, int], Any] | None" = None
    parse_labels: Callable[[np.ndarray, Any], np.ndarray] = keep_labels
    simple_inputs: Callable[[Split, Any], Any] | None = None
    measure_baselines: Callable[[DatasetSplits, Any, Config], list[dict[str, Any]]] = no_baselines
    draw_figures: "Callable[[Path, str, Split, np.ndarray, Any], None]" = draw_nothing
    write_report: "Callable[[Path, Artifact, DatasetSplits, Summary, Config], None]" = write_nothing
    inspect: "Callable[[Path, Config, set[str]], Findings] | None" = None
    explain: "Explain | None" = None
    explains_each_score: bool = False
    sharding_rules: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    weights_from_data: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    notice: str = ""
    has_private_examples: bool = False

    def __post_init__(self) -> None:
        for name, count in ARGUMENTS.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                _check_function(name, value, count)
        for method in ("fit", "prepare", "finish", "encode_targets", "to_config", "from_config"):
            if not callable(getattr(self.preprocessing, method, None)):
                raise UsageProblem(f"task.py: preprocessing lacks the method {method!r}.")
        for table in ("losses", "metrics", "callbacks"):
            _check_table(table, getattr(self, table))
        if not self.losses:
            raise UsageProblem("task.py: losses is empty; training needs at least one.")


# May be None: the command says so, or answers are made in another way.
OPTIONAL = ("inspect", "explain", "read_file", "make_writer", "respond", "simple_inputs")

# Arguments that the engine passes to each function of the task.
ARGUMENTS = {
    "load": 2,
    "build_model": 2,
    "measure": 3,
    "decode_predictions": 2,
    "predict": 3,
    "format_predictions": 1,
    "signature": 1,
    "example": 2,
    "request_schema": 1,
    "read_requests": 3,
    "augment": 4,
    "make_batch": 3,
    "infer": 2,
    "respond": 3,
    "frozen_weights": 1,
    "phases": 1,
    "vocabularies": 1,
    "sample_weights": 3,
    "finalize": 3,
    "postprocess": 3,
    "weighted_metrics": 3,
    "slices": 2,
    "read_columns": 3,
    "describe_inputs": 2,
    "read_file": 3,
    "make_writer": 2,
    "parse_labels": 2,
    "simple_inputs": 2,
    "measure_baselines": 3,
    "draw_figures": 5,
    "write_report": 5,
    "inspect": 3,
    "explain": 4,
}


def _check_function(name: str, value: Any, count: int) -> None:
    if not callable(value):
        raise UsageProblem(
            f"task.py: {name} must be a function of {count} arguments, not {value!r}."
        )
    try:
        inspect.signature(value).bind(*[None] * count)
    except TypeError as error:
        raise UsageProblem(f"task.py: {name} is called with {count} arguments: {error}.") from None


def _check_table(name: str, table: Any) -> None:
    if not isinstance(table, Mapping):
        raise UsageProblem(f"task.py: {name} must be a table of functions by name, not {table!r}.")
    for key in table:
        _check_function(f"{name}[{key!r}]", find(table, key), 2)
