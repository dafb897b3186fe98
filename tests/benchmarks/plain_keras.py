"""The plain Keras script that the projects are measured against; runs in their environment.

    python plain_keras.py cnn|mlp [--epochs N] [--augment] [--first-step FILE]

Trains the same layers on the same digits with ``Model.fit`` and prints steps per second, the first
epoch aside; with ``--first-step`` it writes a file once the first step is done, and ends.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

BATCH_SIZE = 32
VALIDATION, TEST = 179, 359  # examples, as in the project


class EpochEnds(keras.callbacks.Callback):
    """When each epoch ended, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.times.append(time.perf_counter())


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and validation split: images (size, 8, 8, 1) in [0, 1] and labels (size,)."""
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [TEST, TEST + VALIDATION])
    _, validation, train = ((images[part], digits.target[part]) for part in parts)
    return train, validation


def cnn(images: np.ndarray) -> keras.Model:
    """The project's default model; inputs are standardised as these images are."""
    return keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Normalization(mean=images.mean(), variance=images.var()),
            layers.Conv2D(32, 3, padding="same", kernel_initializer="he_uniform"),
            layers.MaxPooling2D(),
            layers.ReLU(),
            layers.Conv2D(48, 3, padding="same", kernel_initializer="he_uniform"),
            layers.MaxPooling2D(),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", kernel_initializer="he_uniform"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_initializer="he_uniform"),
            layers.Dense(10),
        ]
    )


def mlp(images: np.ndarray) -> keras.Model:
    """The project's model of one hidden layer, for such images."""
    return keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )


def augmented(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Shuffled batches with the project's default shifts, rotations and zooms."""
    augment = keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
            layers.RandomRotation(10 / 360, fill_mode="nearest"),
            layers.RandomZoom(0.1, fill_mode="nearest"),
        ]
    )
    return (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images))
        .batch(BATCH_SIZE)
        .map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["cnn", "mlp"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--first-step", type=Path)
    arguments = parser.parse_args()
    (images, labels), validation = load()
    model = {"cnn": cnn, "mlp": mlp}[arguments.model](images)
    model.compile(
        keras.optimizers.AdamW(3e-3, weight_decay=1e-4, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    if arguments.first_step:
        model.train_on_batch(images[:BATCH_SIZE], labels[:BATCH_SIZE])
        arguments.first_step.touch()
        return
    ends = EpochEnds()
    options = {
        "epochs": arguments.epochs,
        "validation_data": validation,
        "callbacks": [ends],
        "verbose": 2,
    }
    if arguments.augment:
        model.fit(augmented(images, labels), **options)
    else:
        model.fit(images, labels, batch_size=BATCH_SIZE, **options)
    steps = -(-len(images) // BATCH_SIZE) * (len(ends.times) - 1)
    print(steps / (ends.times[-1] - ends.times[0]))


if __name__ == "__main__":
    main()
