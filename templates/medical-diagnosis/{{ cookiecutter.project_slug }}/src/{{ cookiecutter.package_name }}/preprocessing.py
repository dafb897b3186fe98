"""From a patient's values to the network's inputs, the same in tf.data, ``predict`` and serving.

Numbers are standardized, right-skewed ones after a logarithm. A missing number becomes the mean,
and an indicator input says that it was missing, since that may be informative. Categories are
one-hot encoded. All statistics come from the training split.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .data import Visits
from .datasets.schema import Schema
from .engine.errors import UsageProblem
from .networks import additive

MIN_SKEWNESS = 1.0  # from which a number is scaled by its logarithm
MIN_SKEWNESS_ROWS = 20
CLIP = 6.0  # standard deviations at which a scaled number is clipped
EDGE_ROWS = 5  # rows whose mean is the outermost quantile
MIN_STD = 1e-9


@dataclass(frozen=True)
class Preprocessing:
    """Scale numbers, encode categories, and hold the statistics of the training split.

    Attributes:
        schema: of the table.
        log_columns: numbers that are scaled by their logarithm.
        mean, std: (numbers,) of each number, after the logarithm.
        indicator_columns: numbers whose missingness is an input.
        missing_rate: column -> share of training rows in which it is missing.
        quantiles: (numbers, …) of the scaled numbers, increasing.
        input_means: (width,) means of the inputs; together they are the average patient.
        logistic_weights: (width + 1,) of a tuned logistic regression, the intercept last.
        knots, pairs: curves and interactions of the additive model, see ``Terms``; empty if they do
            not improve it.
        additive_weights: (terms + 1,) of the additive model, the intercept last.
        prevalence: share of training rows with the outcome.
        recalibration: the method that ``finalize`` has applied to the model.
        operating_point: risk from which the outcome is predicted, chosen on the validation split.
        model_version: a hash of the trained weights and of these fields.
    """

    schema: Schema
    log_columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    indicator_columns: tuple[str, ...]
    missing_rate: dict[str, float] = field(default_factory=dict)
    quantiles: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    input_means: tuple[float, ...] = field(default=(), repr=False)
    logistic_weights: tuple[float, ...] = field(default=(), repr=False)
    knots: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    pairs: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    additive_weights: tuple[float, ...] = field(default=(), repr=False)
    prevalence: float = 0.5
    recalibration: str = "none"
    operating_point: float = 0.5
    model_version: str = ""

    lengths = max_length = None  # all rows have the same shape

    @classmethod
    def fit(cls, train: Visits, config: Config) -> "Preprocessing":
        """Compute the statistics and fit the regressions on the training split.

        Args:
            train: the training split.
            config: the configuration; ``model.bins`` is the number of pieces between quantiles.

        Raises:
            UsageProblem: the training split is empty.
        """
        if len(train) == 0:
            raise UsageProblem(
                f"data.split: {config.data.split} leaves no training rows; it is for evaluate."
            )
        schema, numbers = train.schema, train.numbers.astype("float64")
        log_columns = tuple(
            name
            for name, values in zip(schema.numbers, numbers.T, strict=True)
            if schema.columns[name].kind == "number" and _is_skewed(values)
        )
        scaled = numbers.copy()
        log_indices = [schema.numbers.index(name) for name in log_columns]
        scaled[:, log_indices] = np.log1p(scaled[:, log_indices])
        present = ~np.isnan(scaled)
        count = np.maximum(present.sum(axis=0), 1)
        mean = np.where(present, scaled, 0).sum(axis=0) / count
        std = np.sqrt((np.where(present, scaled - mean, 0) ** 2).sum(axis=0) / count)
        std = np.where(std > MIN_STD, std, 1.0)
        missing = dict(zip(schema.numbers, (~present).mean(axis=0), strict=True)) | {
            name: (train.categories[:, i] == "").mean() for i, name in enumerate(schema.categories)
        }
        scaling = cls(
            schema=schema,
            log_columns=log_columns,
            mean=_floats(mean),
            std=_floats(std),
            indicator_columns=tuple(name for name in schema.numbers if missing[name] > 0),
            missing_rate={name: round(float(rate), 6) for name, rate in missing.items()},
            quantiles=_quantiles((scaled - mean) / std, config.model.bins),
            prevalence=float(train.targets.mean()),
        )
        return scaling._fit_regressions(train)

    def _fit_regressions(self, train: Visits) -> "Preprocessing":
        """Return a copy with the regressions from which networks start."""
        from .tuning import fit_logistic_weights  # scikit-learn, which a service does without

        inputs, patients = self.transform(train), train.patient_keys
        weights = fit_logistic_weights(inputs, train.targets, patients)
        fit = replace(
            self,
            input_means=_floats(inputs.mean(axis=0)),
            logistic_weights=_floats(weights),
            additive_weights=_floats(weights),
        )
        model = additive.fit(inputs, train.targets, patients, self.inputs, self.quantiles)
        if model is None:
            return fit
        terms, weights = model
        return replace(
            fit,
            knots=_tuples(terms.knots),
            pairs=_tuples(terms.pairs),
            additive_weights=_floats(weights),
        )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The column from which each input (width,) is computed."""
        return (
            *self.schema.numbers,
            *self.indicator_columns,
            *(name for name in self.schema.categories for _ in self.schema.columns[name].values),
        )

    @property
    def width(self) -> int:
        """Number of inputs of a row."""
        return len(self.inputs)

    def prepare(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Scale and encode a batch.

        Args:
            raw: ``numbers`` (batch, numbers) float32 and ``categories`` (batch, categories) string.

        Returns:
            Inputs (batch, width) float32.
        """
        numbers = tf.cast(raw["numbers"], tf.float32)
        present = ~tf.math.is_nan(numbers)
        uses_log = np.isin(self.schema.numbers, self.log_columns)
        # Zeros keep NaN out of the arithmetic until missing numbers are set to the mean below.
        values = tf.where(present, numbers, 0.0)
        values = tf.where(uses_log, tf.math.log1p(tf.maximum(values, 0.0)), values)
        scaled = (values - np.array(self.mean, "float32")) / np.array(self.std, "float32")
        scaled = tf.where(present, tf.clip_by_value(scaled, -CLIP, CLIP), 0.0)
        indices = [self.schema.numbers.index(name) for name in self.indicator_columns]
        missing = ~tf.gather(present, np.array(indices, "int32"), axis=1)
        parts = [scaled, tf.cast(missing, tf.float32)]
        for i, name in enumerate(self.schema.categories):
            values = tf.constant(self.schema.columns[name].values, tf.string)
            parts.append(tf.cast(raw["categories"][:, i : i + 1] == values, tf.float32))
        return tf.ensure_shape(tf.concat(parts, axis=1), (None, self.width))

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """Return prepared inputs unchanged."""
        return prepared

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.finish(self.prepare(raw))

    def transform(self, split: Visits) -> np.ndarray:
        """Return the inputs (size, width) float32 of all rows of a split."""
        return self(split.fetch(np.arange(len(split)))).numpy()

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return targets (size,) as float32, 1 where the outcome is yes."""
        return targets.astype("float32")

    def to_config(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "schema": self.schema.model_dump(mode="json"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        """Rebuild the preprocessing from ``to_config``."""
        flat = (
            *("log_columns", "mean", "std", "indicator_columns"),
            *("input_means", "logistic_weights", "additive_weights"),
        )
        tuples: dict[str, Any] = {name: tuple(config[name]) for name in flat}
        tuples |= {name: _tuples(config[name]) for name in ("quantiles", "knots", "pairs")}
        return cls(**{**config, **tuples, "schema": Schema.model_validate(config["schema"])})

    def notes(self) -> dict[str, Any]:
        """Return facts for the summary and the model card."""
        return {
            "inputs": self.width,
            "log_columns": list(self.log_columns),
            "curves": sum(1 for row in self.knots if row),
            "pairs": len(self.pairs),
            "missing_rate": self.missing_rate,
            "recalibration": self.recalibration,
            "operating_point": self.operating_point,
        }


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


def _tuples(rows: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(map(tuple, rows))


def _is_skewed(values: np.ndarray) -> bool:
    present = values[~np.isnan(values)]
    if len(present) < MIN_SKEWNESS_ROWS or present.min() < 0 or present.std() < MIN_STD:
        return False
    return bool(np.mean(((present - present.mean()) / present.std()) ** 3) > MIN_SKEWNESS)


def _quantiles(scaled: np.ndarray, bins: int) -> tuple[tuple[float, ...], ...]:
    """Return increasing quantiles of each number that divide it into ``bins`` pieces at most.

    They are saved with the model, so they must not reveal a row's value: they are rounded, and the
    outermost ones are means of several rows.

    Args:
        scaled: (size, numbers) scaled numbers, NaN where missing.
        bins: pieces with about the same number of rows each.
    """
    rows: list[tuple[float, ...]] = []
    for values in scaled.T:
        present = np.sort(np.clip(values[~np.isnan(values)], -CLIP, CLIP))
        if not len(present):
            rows.append((0.0, 1.0))
            continue
        quantiles = np.quantile(present, np.linspace(0, 1, bins + 1))
        quantiles = np.clip(quantiles, present[:EDGE_ROWS].mean(), present[-EDGE_ROWS:].mean())
        quantiles = np.unique(quantiles.round(2))
        rows.append(_floats(quantiles) if len(quantiles) > 1 else (0.0, 1.0))
    return tuple(rows)
