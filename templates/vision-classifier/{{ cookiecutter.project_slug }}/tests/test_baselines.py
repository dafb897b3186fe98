import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import baselines
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import ImageSplit
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


def make_split(size: int) -> ImageSplit:
    pixels = np.random.default_rng(size).integers(0, 256, (size, 4, 4, 1)).astype("uint8")
    shapes = np.array([(4, 4, 1)] * size)
    targets = np.array([("dark", "bright")[int(image.mean() > 127)] for image in pixels])
    held = tf.constant(pixels)
    return ImageSplit(
        np.arange(size).astype(str), targets, lambda at: tf.gather(held, at), shapes=shapes
    )


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({}, "logistic regression"),
        ({"MAX_EXAMPLES": 40}, "logistic regression (40 examples)"),
        ({"MAX_OPERATIONS": 60 * 16 * 2 * 5}, "logistic regression (5 iterations)"),
    ],
)
def test_name_says_what_was_reduced(
    limits: dict[str, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, value in limits.items():
        monkeypatch.setattr(baselines, limit, value)
    data = DatasetSplits("some", "", make_split(60), make_split(20), make_split(30))
    fitted = Preprocessing.fit(data.train, load_config([]))
    rows = baselines.measure(data, fitted, load_config([]))
    assert [row["name"] for row in rows] == ["majority class", name]
    assert rows[1]["metrics"]["test/accuracy"] > rows[0]["metrics"]["test/accuracy"]
