import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.model import TransferModel, build, phases
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

from .conftest import UNRECORDED

LARGE = {"vgg16", "efficientnetv2b0"}
GREY = Preprocessing(8, 8, 1, "stretch", ("a", "b", "c"))


def make_config(name: str, *words: str):
    return load_config(["--model.name", name, "--model.weights", "none", *words])


def backbone(network: keras.Model) -> keras.Model:
    """The network of ``keras.applications`` inside a network."""
    return next(layer for layer in network.layers if isinstance(layer, keras.Model))


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_reloads_with_the_same_predictions(
    name: str, precision: str, tmp_path: Path
) -> None:
    network = build(make_config(name), GREY)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("sgd", loss, run_eagerly=True)
    images = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
    assert np.isfinite(network.train_on_batch(images, np.arange(3)))
    if name in LARGE and precision != "float32":
        return  # saved and loaded in one precision only: that takes seconds
    artifact.Artifact(network, GREY, task).save(tmp_path / "model.keras")
    reloaded = artifact.load(tmp_path / "model.keras", task).network
    logits = network(images, training=False)
    assert logits.dtype == "float32"
    np.testing.assert_array_equal(reloaded(images, training=False), logits)


@pytest.mark.parametrize(
    "words",
    [
        "--train.optimizer sgd --train.schedule step --train.loss focal "
        "--train.label_smoothing 0.1 --train.class_weights balanced --model.dropout 0.2 "
        "--runtime.precision mixed_float16 --data.resize pad --data.image_size 9 "
        "--data.cache disk --train.early_stopping_patience 0 --train.deterministic false",
        "--runtime.precision mixed_bfloat16 --train.schedule constant --data.resize crop "
        "--data.image_size 12 --data.channels 3 --data.augment_flip true --data.augment_color 0.2",
    ],
)
def test_every_option_trains(words: str) -> None:
    assert main([*UNRECORDED, *words.split()]) == 0
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 47, 3)])
def test_any_size_and_channels(name: str, shape: tuple[int, int, int]) -> None:
    network = build(make_config(name), Preprocessing(*shape, "stretch", ("a", "b", "c")))
    assert network(np.zeros((2, *shape), "float32")).shape == (2, 3)


def test_logits_are_float32_in_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(make_config("cnn"), GREY)
        assert network(np.zeros((2, 8, 8, 1))).dtype == "float32"
        assert network.get_layer("dense").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_pretrained_weights_from_a_file_are_frozen_then_fine_tuned(tmp_path: Path) -> None:
    from_scratch = build(make_config("efficientnetv2b0"), GREY)
    file = tmp_path / "backbone.weights.h5"
    backbone(from_scratch).save_weights(file)
    config = load_config(["--model.name", "efficientnetv2b0", "--model.weights", str(file)])
    network = build(config, GREY)
    for ours, theirs in zip(
        backbone(network).get_weights(),
        backbone(from_scratch).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    first, second = phases(config)
    first.prepare(network)
    assert [weight.path.split("/")[0] for weight in network.trainable_weights] == ["logits"] * 2
    second.prepare(network)
    assert len(network.trainable_weights) > 2
    assert second.learning_rate < first.learning_rate


def tiny_application(include_top, weights, input_shape) -> keras.Model:
    """A network with the signature of those of ``keras.applications``."""
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Conv2D(2, 3, name="features")(image))


def test_training_in_two_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransferModel(tiny_application, lambda pixels: pixels, image_size=8, min_size=8)
    monkeypatch.setitem(MODELS, "tiny", model)
    file = tmp_path / "tiny.weights.h5"
    before = backbone(build(make_config("tiny"), GREY))
    before.save_weights(file)
    words = ["--model.name", "tiny", "--model.weights", str(file), "--tracking.enabled", "false"]
    words += ["--train.epochs", "1", "--model.fine_tune_epochs", "1"]
    assert main([*words, "--data.limit", "60", "--data.batch_size", "16"]) == 0
    run = find_run("latest")
    assert run.summary["steps"] == 6
    rates = [line["metrics"].get("train/learning_rate") for line in run.read_metrics()]
    assert len(rates) == 2
    moved = backbone(artifact.load(run.model_file, task).network).get_weights()[0]
    assert (moved != before.get_weights()[0]).any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [("missing.h5", "is not a file, 'imagenet' or 'none'"), ("wrong.weights.h5", "does not fit")],
)
def test_bad_pretrained_weights(weights: str, message: str, tmp_path: Path) -> None:
    Path("wrong.weights.h5").write_bytes(b"no weights")
    with pytest.raises(DataProblem, match=message):
        build(load_config(["--model.name", "vgg16", "--model.weights", weights]), GREY)


def test_classes_may_be_added_to_earlier_weights() -> None:
    earlier = artifact.Artifact(build(make_config("cnn"), GREY), GREY, task)
    more = Preprocessing(8, 8, 1, "stretch", ("b", "new", "a", "c"))
    network = build(make_config("cnn", "--train.seed", "1"), more)
    copied = artifact.copy_weights(network, more, earlier)
    assert copied == len(network.weights)
    image = np.random.default_rng(0).random((1, 8, 8, 1))
    ours, theirs = network(image)[0].numpy(), earlier.network(image)[0].numpy()
    np.testing.assert_allclose(ours[[2, 0, 3]], theirs, rtol=1e-5)


def test_weights_of_another_model_are_refused() -> None:
    earlier = artifact.Artifact(build(make_config("cnn"), GREY), GREY, task)
    assert artifact.copy_weights(build(make_config("mlp"), GREY), GREY, earlier) == 0


# === Model files that must not be loaded ===


@keras.saving.register_keras_serializable("evil")
class Foreign(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def save_model(path: Path, *layers) -> Path:
    """A file as this project writes it, but with layers that it does not know."""
    image = keras.Input((8, 8, 1))
    x = image
    for layer in layers:
        x = layer(x)
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    artifact.Artifact(network, GREY, task).save(path)
    return path


def lambda_file(path: Path) -> Path:
    layer = keras.layers.Lambda(lambda x: (Path("executed").mkdir(exist_ok=True), x)[1])
    return save_model(path, layer)


def foreign_file(path: Path) -> Path:
    file = save_model(path, Foreign())
    keras.saving.get_custom_objects().pop("evil>Foreign", None)
    return file


def truncate_file(path: Path) -> Path:
    content = save_model(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def pickle_file(path: Path) -> Path:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, ("executed",)

    path.write_bytes(pickle.dumps(Bomb()))
    return path


def other_keras_file(path: Path) -> Path:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    return path


def damage_entry(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("preprocessing.json", "{")
    return path


@pytest.mark.parametrize(
    "make",
    [lambda_file, foreign_file, truncate_file, pickle_file, other_keras_file, damage_entry],
)
def test_unsafe_or_damaged_files_are_refused(make, tmp_path: Path) -> None:
    file = make(tmp_path / "model.keras")
    Path("executed").rmdir() if Path("executed").exists() else None
    with pytest.raises(DataProblem, match="model file: ") as caught:
        artifact.load(file, task)
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="does not exist"):
        artifact.load(tmp_path / "none.keras", task)
