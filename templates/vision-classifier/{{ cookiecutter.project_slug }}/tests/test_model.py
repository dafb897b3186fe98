import os
import pickle
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.model import build, phases
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS

from .conftest import QUICK

GREY = Preprocessing(8, 8, 1, "stretch", ("a", "b", "c"))


def configured(name: str, *words: str):
    return load_config(["--model.name", name, "--model.weights", "none", *words])


def backbone(core: keras.Model) -> keras.Model:
    """The network of ``keras.applications`` inside a core."""
    return next(layer for layer in core.layers if isinstance(layer, keras.Model))


LARGE = {"vgg16", "efficientnetv2b0"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in MODELS]
)
def test_every_model_trains_and_reloads_with_the_same_predictions(name: str) -> None:
    # Training itself compares the saved file's predictions with those in memory.
    words = ["--model.name", name, "--model.weights", "none", "--train.max_steps", "2"]
    quick = ["--data.limit", "60", "--data.batch_size", "16", "--tracking.register", "false"]
    assert main([*QUICK, *words, *quick]) == 0
    run = find_run("latest")
    assert run.summary["model"] == name
    model = artifact.load(run.model_file)
    assert model.weights_sha256() == run.summary["weights_sha256"]


@pytest.mark.parametrize(
    "words",
    [
        "--train.optimizer sgd --train.schedule step --train.loss focal "
        "--train.label_smoothing 0.1 --train.class_weights balanced --model.dropout 0.2",
        "--runtime.precision mixed_bfloat16 --train.schedule constant --data.resize crop "
        "--data.image_size 12 --data.channels 3 --data.augment_flip true --data.augment_color 0.2",
        "--runtime.precision mixed_float16 --data.resize pad --data.image_size 9 "
        "--data.cache disk --train.early_stopping_patience 0 --train.deterministic false",
    ],
)
def test_every_option_trains(words: str) -> None:
    assert main([*QUICK, *words.split(), "--tracking.register", "false"]) == 0
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_replicas_of_a_network_with_batch_normalisation() -> None:
    # 140 training images in batches of 23: a rest of 2, for three replicas too few.
    words = ["--model.name", "resnet", "--runtime.strategy", "mirrored", "--data.batch_size", "23"]
    assert main([*QUICK, *words, "--tracking.register", "false"]) == 0
    assert find_run("latest").summary["steps"] == 6


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 47, 3)])
def test_any_size_and_channels(name: str, shape: tuple[int, int, int]) -> None:
    core = build(configured(name), Preprocessing(*shape, "stretch", ("a", "b", "c")))
    assert core(np.zeros((2, *shape), "float32")).shape == (2, 3)


def test_logits_are_float32_in_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        core = build(configured("cnn"), GREY)
        assert core(np.zeros((2, 8, 8, 1))).dtype == "float32"
        assert core.get_layer("dense").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_pretrained_weights_from_a_file_are_frozen_then_fine_tuned(tmp_path: Path) -> None:
    from_scratch = build(configured("efficientnetv2b0"), GREY)
    file = tmp_path / "backbone.weights.h5"
    backbone(from_scratch).save_weights(file)
    config = load_config(["--model.name", "efficientnetv2b0", "--model.weights", str(file)])
    core = build(config, GREY)
    for ours, theirs in zip(
        backbone(core).get_weights(),
        backbone(from_scratch).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    first, second = phases(config)
    first.prepare(core)
    assert [weight.path.split("/")[0] for weight in core.trainable_weights] == ["logits"] * 2
    second.prepare(core)
    assert len(core.trainable_weights) > 2
    assert second.learning_rate < first.learning_rate


@pytest.mark.slow
def test_training_in_two_phases(tmp_path: Path) -> None:
    file = tmp_path / "vgg.weights.h5"
    backbone(build(configured("vgg16"), GREY)).save_weights(file)
    words = [
        "--model.name",
        "vgg16",
        "--model.weights",
        str(file),
        "--train.epochs",
        "1",
        "--model.fine_tune_epochs",
        "1",
        "--data.limit",
        "60",
        "--tracking.register",
        "false",
        "--data.batch_size",
        "16",
    ]
    assert main(words) == 0
    run = find_run("latest")
    assert run.summary["steps"] == 6
    rates = [line["metrics"].get("train/learning_rate") for line in run.read_metrics()]
    assert len(rates) == 2
    moved = backbone(artifact.load(run.model_file).core).get_weights()[0]
    before = backbone(build(load_config(words[:4]), GREY)).get_weights()[0]
    assert (moved != before).any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [("missing.h5", "is not a file, 'imagenet' or 'none'"), ("wrong.weights.h5", "does not fit")],
)
def test_bad_pretrained_weights(weights: str, message: str, tmp_path: Path) -> None:
    Path("wrong.weights.h5").write_bytes(b"no weights")
    with pytest.raises(DataProblem, match=message):
        build(load_config(["--model.name", "vgg16", "--model.weights", weights]), GREY)


def test_classes_may_be_added_to_earlier_weights() -> None:
    earlier = artifact.Artifact(build(configured("cnn"), GREY), GREY)
    more = Preprocessing(8, 8, 1, "stretch", ("b", "new", "a", "c"))
    core = build(configured("cnn", "--train.seed", "1"), more)
    before = {"logits": (-1, GREY.classes)}
    copied = artifact.warm_start(core, earlier, before, {"logits": (-1, more.classes)})
    assert copied == len(core.weights)
    image = np.random.default_rng(0).random((1, 8, 8, 1))
    ours, theirs = core(image)[0].numpy(), earlier.core(image)[0].numpy()
    np.testing.assert_allclose(ours[[2, 0, 3]], theirs, rtol=1e-5)


def test_weights_of_another_model_are_refused() -> None:
    earlier = artifact.Artifact(build(configured("cnn"), GREY), GREY)
    names = {"logits": (-1, GREY.classes)}
    assert artifact.warm_start(build(configured("mlp"), GREY), earlier, names, names) == 0


# === Model files that must not be loaded ===


@keras.saving.register_keras_serializable("evil")
class Foreign(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def saved(path: Path, *layers) -> Path:
    """A file as this project writes it, but with layers that it does not know."""
    image = keras.Input((8, 8, 1))
    x = image
    for layer in layers:
        x = layer(x)
    core = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    artifact.Artifact(core, GREY).save(path)
    return path


def lambda_file(path: Path) -> Path:
    return saved(path, keras.layers.Lambda(lambda x: (Path("executed").mkdir(exist_ok=True), x)[1]))


def foreign_file(path: Path) -> Path:
    file = saved(path, Foreign())
    keras.saving.get_custom_objects().pop("evil>Foreign", None)
    return file


def truncated_file(path: Path) -> Path:
    content = saved(path).read_bytes()
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


def damaged_entry(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("preprocessing.json", "{")
    return path


@pytest.mark.parametrize(
    "make",
    [lambda_file, foreign_file, truncated_file, pickle_file, other_keras_file, damaged_entry],
)
def test_unsafe_or_damaged_files_are_refused(make, tmp_path: Path) -> None:
    file = make(tmp_path / "model.keras")
    Path("executed").rmdir() if Path("executed").exists() else None
    with pytest.raises(DataProblem, match="model file: ") as caught:
        artifact.load(file)
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="does not exist"):
        artifact.load(tmp_path / "none.keras")
