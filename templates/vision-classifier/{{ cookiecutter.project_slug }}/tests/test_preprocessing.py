from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import model
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import ImageSplit
from {{ cookiecutter.package_name }}.engine import artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing, augment
from {{ cookiecutter.package_name }}.task import task

CLASSES = ("cat", "dog")


BATCH = 16
NO_TARGETS = tf.zeros(BATCH, tf.int32)


def make_preprocessing(height=8, width=8, channels=3, resize="stretch") -> Preprocessing:
    return Preprocessing(height, width, channels, resize, CLASSES)


def picture(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype("uint8")


def encode_png(*pictures: np.ndarray) -> tf.Tensor:
    return tf.stack([tf.io.encode_png(pixels) for pixels in pictures])


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_eagerly_in_tf_data_and_reloaded(
    resize: str, channels: int, tmp_path: Path
) -> None:
    ours = make_preprocessing(channels=channels, resize=resize)
    raw = encode_png(picture(12, 20, 3), picture(8, 8, 1), picture(5, 3, 3))
    eager = ours(raw).numpy()
    assert eager.shape == (3, 8, 8, channels)
    assert eager.min() >= 0
    assert eager.max() <= 1
    in_tf_data = next(iter(tf.data.Dataset.from_tensors(raw).map(ours)))
    np.testing.assert_array_equal(in_tf_data, eager)
    network = model.build(load_config(["--model.name", "mlp"]), ours)
    artifact.Artifact(network, ours, task).save(tmp_path / "m.keras")
    reloaded = artifact.load(tmp_path / "m.keras", task).preprocessing
    assert reloaded == ours
    np.testing.assert_array_equal(reloaded(raw), eager)


def test_pixels_and_files_give_the_same() -> None:
    ours, pixels = make_preprocessing(16, 16, 1), picture(8, 8, 1)
    np.testing.assert_array_equal(ours(pixels[None]), ours(encode_png(pixels)))


def test_crop_keeps_the_middle_and_pad_the_whole() -> None:
    wide = np.zeros((8, 16, 3), "uint8")
    wide[:, 4:12] = 255
    cropped = make_preprocessing(resize="crop")(encode_png(wide)).numpy()
    assert cropped.min() == pytest.approx(1, abs=0.01)
    padded = make_preprocessing(resize="pad")(encode_png(wide)).numpy()[0]
    assert padded[:2].max() == padded[-2:].max() == 0
    assert padded[3:5].max() == pytest.approx(1, abs=0.01)


def test_fit_takes_the_images_own_size_if_it_is_small() -> None:
    def fit_shape(shapes: list, *words: str) -> tuple[int, int, int]:
        first = tf.zeros((1, *shapes[0]), tf.uint8)
        split = ImageSplit(
            np.array(["1", "2"]),
            np.array(["a", "b"]),
            lambda positions: tf.repeat(first, tf.size(positions), axis=0),
            shapes=np.array(shapes),
        )
        return Preprocessing.fit(split, load_config(list(words))).input_shape

    assert fit_shape([(8, 10, 1), (8, 10, 1)]) == (8, 10, 1)
    assert fit_shape([(8, 10, 1), (9, 10, 3)]) == (64, 64, 3)
    assert fit_shape([(500, 500, 3)] * 2, "--model.name", "vgg16") == (224, 224, 3)
    assert fit_shape([(500, 500, 3)] * 2, "--data.image_size", "32") == (32, 32, 3)
    assert fit_shape([(8, 8, 3)] * 2, "--data.channels", "1") == (8, 8, 1)


def test_fit_measures_each_channel() -> None:
    pixels = np.zeros((100, 6, 6, 3), "uint8")
    pixels[50:, ..., 0], pixels[..., 1] = 255, 51  # half and half; the same everywhere; black
    calls = []

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        calls.append(positions)
        return tf.gather(tf.constant(pixels), positions)

    split = ImageSplit(
        np.arange(100).astype(str),
        np.array(["a", "b"] * 50),
        fetch,
        shapes=np.array([(6, 6, 3)] * 100),
    )
    fitted = Preprocessing.fit(split, load_config([]))
    assert len(calls) == 1, "once for the graph, not once for each part"
    assert fitted.mean == (0.5, 0.2, 0.0)
    assert fitted.std == (0.5, 0.0039, 0.0039), "never zero: it is divided by"
    network = model.build(load_config(["--model.name", "resnet"]), fitted)
    seen = network.get_layer("normalization")(fitted(tf.constant(pixels)))
    np.testing.assert_allclose(seen[0, 0, 0], (-1, 0, 0), atol=1e-4)


def test_images_that_are_only_shifted_are_not_blurred() -> None:
    words = ["--data.augment_rotation", "0", "--data.augment_zoom", "0"]
    images = np.stack([picture(8, 8, 3)] * BATCH)
    words += ["--data.augment_shift", "0.3"]
    changed = augment(images, NO_TARGETS, uniform(1), load_config(words))[0].numpy()
    assert (changed != images).any()
    assert set(np.unique(changed)) <= set(np.unique(images))


def test_unknown_class_is_named() -> None:
    with pytest.raises(DataProblem, match="label: 'cow' is not among the classes: cat, dog"):
        make_preprocessing().encode_targets(np.array(["cat", "cow"]))


def uniform(seed: int):
    """Numbers for a batch, as the pipeline draws them."""
    return lambda count: tf.random.stateless_uniform((64, count), (seed, 0))[:BATCH]


def test_augmentation_off_changes_nothing() -> None:
    names = ("shift", "rotation", "zoom", "color")
    words = [word for name in names for word in (f"--data.augment_{name}", "0")]
    images = np.stack([picture(8, 8, 3)] * BATCH)
    augmented, _ = augment(images, NO_TARGETS, uniform(1), load_config(words))
    np.testing.assert_array_equal(augmented, images)


def test_augmentation_is_a_function_of_its_seed() -> None:
    config = load_config(["--data.augment_flip", "true", "--data.augment_color", "0.3"])
    images = tf.constant(np.stack([picture(8, 8, 3)] * BATCH))
    first = augment(images, NO_TARGETS, uniform(1), config)[0].numpy()
    np.testing.assert_array_equal(augment(images, NO_TARGETS, uniform(1), config)[0], first)
    assert (augment(images, NO_TARGETS, uniform(3), config)[0].numpy() != first).any()
    assert (first[0] != first[1]).any(), "each image is changed in its own way"
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 255


def test_flip_mirrors_exactly() -> None:
    words = ["--data.augment_flip", "true"]
    for name in ("shift", "rotation", "zoom"):
        words += [f"--data.augment_{name}", "0"]
    images = np.stack([picture(8, 8, 3)] * BATCH)
    changed = augment(images, NO_TARGETS, uniform(0), load_config(words))[0].numpy()
    mirrored = [np.allclose(image, images[0][:, ::-1], atol=0.01) for image in changed]
    kept = [np.allclose(image, images[0], atol=0.01) for image in changed]
    assert all(m or k for m, k in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)
