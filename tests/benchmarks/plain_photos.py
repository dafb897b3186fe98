"""The plain Keras script that photos are measured against; runs in a project's environment.

    python plain_photos.py FOLDER

Trains the network of a well-known tutorial on ``FOLDER/train/CLASS/*.jpg`` for ten epochs, all
photos in memory and no augmentation, and after each epoch looks at ``FOLDER/test``. The last line
is the accuracy there and the seconds of ``Model.fit``.
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

BATCH_SIZE = 32
EPOCHS = 10


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (size, height, width, 3) float32 in [0, 1] and labels (size,) of a split."""
    images, labels = [], []
    for label, photos in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for photo in sorted(photos.iterdir()):
            images.append(tf.io.decode_image(photo.read_bytes(), channels=3).numpy())
            labels.append(label)
    return np.stack(images).astype("float32") / 255, np.array(labels)


def cnn(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Three convolutions and a dense layer."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(classes),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (images, labels), test = read(folder / "train"), read(folder / "test")
    keras.utils.set_random_seed(0)
    model = cnn(images.shape[1:], int(labels.max()) + 1)
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    began = time.perf_counter()
    history = model.fit(
        images,
        labels,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=test,
        verbose=2,
    )
    print(history.history["val_accuracy"][-1], time.perf_counter() - began)


if __name__ == "__main__":
    main()
