"""From a patient's values to the network's inputs, the same in tf.data, ``predict`` and serving.

Numbers are scaled, those with a long tail by their logarithm; one that is missing counts as usual
and is noted as missing, since that may mean something. Categories become a number for each value.
Everything is learnt from the training split alone.
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
from .tuning import logistic_weights

TAIL = 1.0  # skewness from which a number is scaled by its logarithm
MOST = 6.0  # spreads from the mean at which a number is cut off
OUTER = 5  # rows whose mean is where the range of a number begins, and ends


@dataclass(frozen=True)
class Preprocessing:
    """What the training split says of each column.

    Attributes:
        schema: of the table.
        logarithmic: numbers that are scaled by their logarithm.
        centre, spread: of each number, after that.
        gaps: numbers that may be missing, of which that is an input.
        missing: column -> share that is missing.
        quantiles: (numbers, …) of the scaled numbers, rising.
        usual: (width,) means of the inputs: a patient without anything remarkable.
        reference: (width + 1,) weights of a logistic regression, and its intercept.
        knots, pairs: of a regression with curves and pairs of inputs, see ``Terms``; empty where
            they gain nothing.
        additive: (terms + 1,) its weights, and its intercept.
        prevalence: share of the training rows with the outcome.
        recalibration: how risks were set right, once the model is settled.
        operating_point: risk from which the outcome is predicted; the validation split chooses it.
        model_version: a hash of the model and of all this, once it is trained.
    """

    schema: Schema
    logarithmic: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    gaps: tuple[str, ...]
    missing: dict[str, float] = field(default_factory=dict)
    quantiles: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    usual: tuple[float, ...] = field(default=(), repr=False)
    reference: tuple[float, ...] = field(default=(), repr=False)
    knots: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    pairs: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    additive: tuple[float, ...] = field(default=(), repr=False)
    prevalence: float = 0.5
    recalibration: str = "none"
    operating_point: float = 0.5
    model_version: str = ""

    lengths = None  # all rows have the same shape

    @classmethod
    def fit(cls, train: Visits, config: Config) -> "Preprocessing":
        """Learn scales and what may be missing from the training rows."""
        if len(train) == 0:
            raise UsageProblem(
                f"data.split: {config.data.split} leaves nothing to train on; it is to evaluate."
            )
        schema, numbers = train.schema, train.numbers.astype("float64")
        logarithmic = tuple(
            name
            for name, values in zip(schema.numbers, numbers.T, strict=True)
            if schema.columns[name].kind == "number" and _has_tail(values)
        )
        scaled = numbers.copy()
        logged = [schema.numbers.index(name) for name in logarithmic]
        scaled[:, logged] = np.log1p(scaled[:, logged])
        there = ~np.isnan(scaled)
        count = np.maximum(there.sum(axis=0), 1)
        centre = np.where(there, scaled, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(there, scaled - centre, 0) ** 2).sum(axis=0) / count)
        spread = np.where(spread > 1e-9, spread, 1.0)
        shares = (~there).mean(axis=0)
        absent = dict(zip(schema.numbers, shares, strict=True)) | {
            name: (train.categories[:, place] == "").mean()
            for place, name in enumerate(schema.categories)
        }
        made = cls(
            schema=schema,
            logarithmic=logarithmic,
            centre=tuple(map(float, centre)),
            spread=tuple(map(float, spread)),
            gaps=tuple(np.array(schema.numbers)[shares > 0].tolist()),
            missing={name: round(float(share), 6) for name, share in absent.items()},
            quantiles=_quantiles((scaled - centre) / spread, config.model.bins),
            prevalence=float(train.targets.mean()),
        )
        inputs = made.of(train)
        weights = logistic_weights(inputs, train.targets, train.people)
        learnt = {"usual": inputs.mean(axis=0), "reference": weights, "additive": weights}
        found = additive.fit(inputs, train.targets, train.people, made.inputs, made.quantiles)
        if found:
            terms, learnt["additive"] = found
            made = replace(made, knots=_tuples(terms.knots), pairs=_tuples(terms.pairs))
        return replace(made, **{name: tuple(map(float, v)) for name, v in learnt.items()})

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The column (width,) that each input comes from."""
        return (
            *self.schema.numbers,
            *self.gaps,
            *(name for name in self.schema.categories for _ in self.schema.columns[name].values),
        )

    @property
    def width(self) -> int:
        """Inputs of a row."""
        return len(self.inputs)

    def prepare(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Numbers and categories -> (batch, width) float32."""
        numbers = tf.cast(raw["numbers"], tf.float32)
        there = ~tf.math.is_nan(numbers)
        # A missing number counts as the mean; the logarithm must not see NaN.
        logged = np.isin(self.schema.numbers, self.logarithmic)
        known = tf.where(there, numbers, 0.0)
        known = tf.where(logged, tf.math.log1p(tf.maximum(known, 0.0)), known)
        scaled = (known - np.array(self.centre, "float32")) / np.array(self.spread, "float32")
        scaled = tf.where(there, tf.clip_by_value(scaled, -MOST, MOST), 0.0)
        places = [self.schema.numbers.index(name) for name in self.gaps]
        parts = [scaled, tf.cast(~tf.gather(there, np.array(places, "int32"), axis=1), tf.float32)]
        for place, name in enumerate(self.schema.categories):
            values = tf.constant(self.schema.columns[name].values, tf.string)
            chosen = raw["categories"][:, place : place + 1] == values
            parts.append(tf.cast(chosen, tf.float32))
        return tf.ensure_shape(tf.concat(parts, axis=1), (None, self.width))

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """Nothing is left to do."""
        return prepared

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.finish(self.prepare(raw))

    def of(self, split: Visits) -> np.ndarray:
        """What the network sees of all rows (size, width)."""
        return self(split.fetch(np.arange(len(split)))).numpy()

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """(size,) float32, 1 where the outcome is yes."""
        return targets.astype("float32")

    def to_config(self) -> dict[str, Any]:
        return self._fields() | {"schema": self.schema.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        learnt = ("usual", "reference", "additive")
        lists = {
            name: tuple(config[name])
            for name in ("logarithmic", "centre", "spread", "gaps", *learnt)
        }
        rows = {name: _tuples(config[name]) for name in ("quantiles", "knots", "pairs")}
        schema = Schema.model_validate(config["schema"])
        return cls(**{**config, **lists, **rows, "schema": schema})

    def notes(self) -> dict[str, Any]:
        return {
            "inputs": self.width,
            "logarithmic": list(self.logarithmic),
            "curves": sum(1 for row in self.knots if row),
            "pairs": len(self.pairs),
            "missing": self.missing,
            "recalibration": self.recalibration,
            "operating_point": self.operating_point,
        }

    def _fields(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _tuples(rows: Iterable[Iterable[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(map(tuple, rows))


def _has_tail(values: np.ndarray) -> bool:
    known = values[~np.isnan(values)]
    if len(known) < 20 or known.min() < 0 or known.std() < 1e-9:
        return False
    return bool(np.mean(((known - known.mean()) / known.std()) ** 3) > TAIL)


def _quantiles(scaled: np.ndarray, bins: int) -> tuple[tuple[float, ...], ...]:
    """Borders of pieces that hold about as many training rows each, of every number.

    They are saved with the model and tell no row's value: they are rounded, and the outer ones are
    means of several rows.
    """
    rows = []
    for values in scaled.T:
        known = np.sort(np.clip(values[~np.isnan(values)], -MOST, MOST))
        borders = np.quantile(known, np.linspace(0, 1, bins + 1)) if len(known) else np.zeros(0)
        ends = [known[:OUTER].mean(), known[-OUTER:].mean()] if len(known) else [0.0, 0.0]
        borders = np.unique(np.clip(borders, *ends).round(2))
        rows.append(tuple(map(float, borders)) if len(borders) > 1 else (0.0, 1.0))
    return tuple(rows)
