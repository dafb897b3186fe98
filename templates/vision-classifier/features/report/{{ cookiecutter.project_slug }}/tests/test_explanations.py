"""Heatmaps of images whose answer is known, of every model."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.explanations import (
    class_weights,
    delete_parts,
    enlarge,
)
from {{ cookiecutter.package_name }}.engine.interfaces import Split
from {{ cookiecutter.package_name }}.model import build
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

SIZE, PATCH = 24, 6
CLASSES = ("nothing", "patch")
LARGE = {"vgg16", "efficientnetv2b0"}
OWN = [name for name in MODELS if name not in LARGE]


def draw_images(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noise (count, SIZE, SIZE, 1), whether a patch is on it, and where (count, 2)."""
    random = np.random.default_rng(0)
    images = random.integers(60, 130, (count, SIZE, SIZE, 1))
    has_patch = np.arange(count) % 2 == 1
    corners = random.integers(0, SIZE - PATCH + 1, (count, 2))
    for place in np.flatnonzero(has_patch):
        row, column = corners[place]
        images[place, row : row + PATCH, column : column + PATCH] = 250
    return images.astype("uint8"), has_patch.astype("int32"), corners


def make_split(images: np.ndarray, labels: np.ndarray) -> Split:
    ids = np.arange(len(images)).astype(str)
    names = np.array(CLASSES, dtype=object)[labels]
    return Split(ids, names, lambda at: tf.gather(tf.constant(images), at))


def make_model(name: str, size: int = SIZE, channels: int = 1) -> Artifact:
    keras.utils.set_random_seed(0)
    config = load_config(["--model.name", name, "--model.weights", "none"], environment={})
    preprocessing = Preprocessing(size, size, channels, "stretch", CLASSES, (0.4,), (0.2,))
    return Artifact(build(config, preprocessing), preprocessing, task)


@pytest.fixture(scope="module", params=OWN)
def found(request: pytest.FixtureRequest) -> tuple[Artifact, Split, np.ndarray]:
    """A model that has learnt to find patches, images with one each, and where it is."""
    images, labels, corners = draw_images(600)
    model = make_model(request.param)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.network.compile(keras.optimizers.Adam(2e-3), loss)
    model.network.fit(model.preprocessing(images[:500]), labels[:500], 32, 6, verbose=0)
    test = np.flatnonzero(labels[500:]) + 500
    predicted = model(images[test]).argmax(axis=-1)
    test = test[predicted == 1]
    assert len(test) > 30, "the model has learnt it"
    return model, make_split(images[test], labels[test]), corners[test]


def test_heatmaps_lie_on_the_patch(found: tuple[Artifact, Split, np.ndarray]) -> None:
    model, split, corners = found
    told = model.explain(split, names=["patch"] * len(split))
    mass = []
    for explanation, (row, column) in zip(told, corners, strict=True):
        grid = explanation.grid
        factor = SIZE // len(grid)
        heat = enlarge(grid[..., None], SIZE)[..., 0]
        # A place of the map stands for several pixels.
        around = slice(max(0, row - factor), row + PATCH + factor)
        beside = slice(max(0, column - factor), column + PATCH + factor)
        mass.append(heat[around, beside].sum() / heat.sum())
    # The mlp reads the noise everywhere; a ninth of the image is around the patch.
    least = 0.4 if model.network.name == "mlp" else 0.8
    assert np.mean(mass) > least, np.mean(mass)


def test_deleting_the_heatmap_changes_most(found: tuple[Artifact, Split, np.ndarray]) -> None:
    model, split, _ = found
    weights = class_weights(np.array([1]), 2, exclusive=True)[0]
    positions = np.arange(12)
    inputs = np.asarray(model.preprocessing(split.fetch(positions)))
    falls = []
    for image, told in zip(inputs, model.explain(split, positions), strict=True):
        heat = enlarge(told.grid[..., None], SIZE)[..., 0].ravel()

        def output(kept: np.ndarray, image: np.ndarray = image) -> np.ndarray:
            shown = kept.reshape(-1, SIZE, SIZE, 1)
            return model.outputs(np.where(shown, image, np.float32(0.4))) @ weights

        falls.append(delete_parts(output, heat))
    named, others = np.mean(falls, axis=0)
    assert named > others + 0.5, (named, others)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
@pytest.mark.parametrize("size", [8, 64])
def test_pretrained_models_are_explained(name: str, size: int) -> None:
    model = make_model(name, size)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 1)).astype("uint8")
    told = model.explain(make_split(images, np.array([0, 1])), np.array([1, 0]))
    assert [len(explanation.grid) for explanation in told] == [4, 4]
    assert all(np.isfinite(explanation.grid).all() for explanation in told)
    np.testing.assert_array_equal(told[0].pixels, images[1])


def test_a_class_is_asked_for_by_its_name() -> None:
    model = make_model("cnn")
    images, labels, _ = draw_images(2)
    split = make_split(images, labels)
    told = model.explain(split, names=["patch", "nothing"])
    assert [explanation.target for explanation in told] == ["patch", "nothing"]
    other = model.explain(split, names=["nothing", "patch"])
    np.testing.assert_allclose([a.score + b.score for a, b in zip(told, other, strict=True)], 1)
    assert model.explain(split)[0].score >= 0.5
    with pytest.raises(DataProblem, match="'dog' is not among the classes: nothing, patch"):
        model.explain(split, names=["dog", "patch"])


def test_predict_explains(trained: Path, capsys: pytest.CaptureFixture) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype("uint8")
    Path("photo.png").write_bytes(tf.io.encode_png(pixels).numpy())
    assert predict(["photo.png", "photo.png", "--explain", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == rows[1]
    told = rows[0]["explanation"]
    assert told["kind"] == "heatmap"
    assert told["target"] == rows[0]["prediction"]
    np.testing.assert_allclose(told["score"], rows[0]["scores"][told["target"]])
    assert np.shape(told["heatmap"]) == (4, 4)
    assert predict(["photo.png", "--explain"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("photo.png  ")
    assert second == f"           {told['target']}: {told['summary']}"


def test_predict_explains_nothing_unasked(trained: Path, capsys: pytest.CaptureFixture) -> None:
    Path("photo.png").write_bytes(tf.io.encode_png(np.zeros((8, 8, 1), "uint8")).numpy())
    assert predict(["photo.png", "--json"]) == 0
    assert "explanation" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", OWN)
def test_half_precision(name: str, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        model = make_model(name)
    finally:
        keras.config.set_dtype_policy("float32")
    images, labels, _ = draw_images(2)
    told = model.explain(make_split(images, labels))
    assert all(np.isfinite(explanation.grid).all() for explanation in told)
