"""The plain Keras script that text projects are measured against; runs in their environment.

    python padded_keras.py FILE.csv MAX_TOKENS --epochs N

Trains the layers of the project's ``cnn`` on a table with the columns text and label, all texts
padded to MAX_TOKENS, with ``Model.fit``, and prints tokens per second, padding not counted and the
first epoch aside.
"""

import argparse
import csv
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from plain_keras import EpochEnds

BATCH_SIZE = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("max_tokens", type=int)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with arguments.file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    labels = np.array([classes.index(row["label"]) for row in rows])
    texts = np.array([row["text"] for row in rows], dtype=object)
    vectorise = layers.TextVectorization(30_000, output_sequence_length=arguments.max_tokens)
    vectorise.adapt(texts)
    tokens = np.asarray(vectorise(texts))
    train = len(rows) * 7 // 10
    inputs = keras.Input((arguments.max_tokens,))
    x = layers.Embedding(vectorise.vocabulary_size(), 128)(inputs)
    widths = [layers.Conv1D(100, width, padding="same", activation="relu") for width in (2, 4, 7)]
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(width(x)) for width in widths])
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(len(classes))(x))
    model.compile(
        keras.optimizers.AdamW(2e-3, weight_decay=1e-4, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    ends = EpochEnds()
    model.fit(
        tokens[:train],
        labels[:train],
        batch_size=BATCH_SIZE,
        epochs=arguments.epochs,
        validation_data=(tokens[train : len(rows) * 8 // 10], labels[train : len(rows) * 8 // 10]),
        callbacks=[ends],
        verbose=0,
    )
    real = int(np.count_nonzero(tokens[:train])) * (len(ends.times) - 1)
    print(real / (ends.times[-1] - ends.times[0]))


if __name__ == "__main__":
    main()
