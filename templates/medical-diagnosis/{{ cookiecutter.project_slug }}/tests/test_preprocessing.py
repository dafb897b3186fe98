"""Statistics of the training split, and the same inputs of a row everywhere."""

import json

import numpy as np
import pandas as pd
import tensorflow as tf

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import Visits, build_visits
from {{ cookiecutter.package_name }}.datasets.schema import Schema
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

SCHEMA = Schema.model_validate(
    {
        "columns": {
            "age": {"kind": "number"},
            "crp": {"kind": "number", "min": 0},
            "smoker": {"kind": "boolean", "yes": "y", "no": "n"},
            "stage": {"kind": "category", "values": ("I", "II")},
            "died": {"kind": "outcome", "yes": "1", "no": "0"},
        }
    }
)


def make_visits(size: int = 60) -> Visits:
    """Return rows with a long tail in ``crp``, and gaps in ``age`` and ``stage``."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": np.where(random.random(size) < 0.3, np.nan, random.normal(60, 10, size)),
            "crp": random.lognormal(1, 1.5, size),
            "smoker": np.where(random.random(size) < 0.4, "y", "n"),
            "stage": np.where(random.random(size) < 0.2, "", random.choice(["I", "II"], size)),
            "died": np.arange(size) % 2,
        }
    )
    return build_visits(SCHEMA.parse(frame), SCHEMA)


def fit(split: Visits) -> Preprocessing:
    return Preprocessing.fit(split, load_config())


def fetch_all(split: Visits) -> dict:
    return split.fetch(np.arange(len(split)))


def test_numbers_are_scaled_and_gaps_noted() -> None:
    split = make_visits()
    preprocessing = fit(split)
    assert preprocessing.log_columns == ("crp",)
    assert preprocessing.indicator_columns == ("age",)
    assert preprocessing.inputs == ("age", "crp", "smoker", "age", "stage", "stage")
    inputs = preprocessing(fetch_all(split)).numpy()
    assert inputs.dtype == np.float32
    missing = np.isnan(split.numbers[:, 0])
    np.testing.assert_array_equal(inputs[:, 3], missing)
    assert (inputs[missing, 0] == 0).all(), "the mean"
    np.testing.assert_allclose(inputs[~missing, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(inputs[~missing, 0].std(), 1, atol=1e-4)
    np.testing.assert_allclose(inputs[:, 1].std(), 1, atol=1e-4)
    one_hot = split.categories[:, 0][:, None] == ["I", "II"]
    np.testing.assert_array_equal(inputs[:, 4:], one_hot)
    np.testing.assert_allclose(preprocessing.input_means, inputs.mean(axis=0), atol=1e-6)
    assert preprocessing.missing_rate["stage"] == round(float((split.categories == "").mean()), 6)


def test_extreme_values_stay_finite() -> None:
    preprocessing = fit(make_visits())
    raw = {
        "numbers": tf.constant([[1e30, 1e30, np.nan], [-1e30, -5.0, np.nan]], tf.float32),
        "categories": tf.constant([[""], ["II"]]),
    }
    inputs = preprocessing(raw).numpy()
    assert np.isfinite(inputs).all()
    assert np.abs(inputs[:, :3]).max() <= 6


def test_the_same_in_tf_data() -> None:
    split = make_visits()
    preprocessing = fit(split)
    data = tf.data.Dataset.range(len(split)).batch(7).map(split.fetch).map(preprocessing)
    np.testing.assert_allclose(
        np.concatenate(list(data)), preprocessing(fetch_all(split)), atol=1e-6
    )


def test_it_is_saved_as_json() -> None:
    preprocessing = fit(make_visits())
    assert (
        Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
        == preprocessing
    )
