"""The plain Keras script that risk models are measured against; runs in their environment.

    python plain_risks.py --epochs N

Trains the layers of the template's ``mlp`` with ``Model.fit`` on numpy arrays as large as the
training split of its cohort. Prints the rows learnt per second, the first epoch aside.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from plain_keras import EpochEnds

ROWS, VALIDATION, WIDTH = 4796, 685, 17  # as in the project
BATCH_SIZE = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    epochs = parser.parse_args().epochs
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS + VALIDATION, WIDTH)).astype("float32")
    truth = (inputs[:, 0] + random.normal(size=len(inputs)) > 2).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    model.compile(
        keras.optimizers.AdamW(2e-3, weight_decay=5.0, global_clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
    )
    ends = EpochEnds()
    model.fit(
        inputs[:ROWS],
        truth[:ROWS],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(inputs[ROWS:], truth[ROWS:]),
        callbacks=[ends],
        verbose=0,
    )
    print(ROWS * (epochs - 1) / (ends.times[-1] - ends.times[0]))


if __name__ == "__main__":
    main()
