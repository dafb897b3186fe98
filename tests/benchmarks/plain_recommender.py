"""The plain Keras script that recommenders are measured against; runs in their environment.

    python plain_recommender.py FILE.csv --epochs N

Trains a matrix factorisation on a table with the columns user, item and timestamp with
``Model.fit``; for each event four items that the user did not have are drawn in Python (as He et
al. do, WWW 2017). The last two events of each user are held out. Prints the events learnt per
second, the first epoch aside.
"""

import argparse
import os
import random
from itertools import chain
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from imports import read
from keras import layers
from plain_keras import EpochEnds

BATCH_SIZE = 256  # events
NEGATIVES = 4
WIDTH = 64


class Batches(keras.utils.PyDataset):
    """Events and what did not happen, drawn anew for each batch."""

    def __init__(self, events: list[tuple[int, int]], items: int) -> None:
        super().__init__()
        self.events, self.items = list(events), items
        self.had: dict[int, set[int]] = {}
        for user, item in events:
            self.had.setdefault(user, set()).add(item)

    def __len__(self) -> int:
        return -(-len(self.events) // BATCH_SIZE)

    def __getitem__(self, number: int):
        users, items, labels = [], [], []
        for user, item in self.events[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]:
            users += [user] * (1 + NEGATIVES)
            items.append(item)
            labels += [1.0] + [0.0] * NEGATIVES
            for _ in range(NEGATIVES):
                other = random.randrange(self.items)
                while other in self.had[user]:
                    other = random.randrange(self.items)
                items.append(other)
        return (np.array(users), np.array(items)), np.array(labels, "float32")

    def on_epoch_end(self) -> None:
        random.shuffle(self.events)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    had = list(read(arguments.file).values())
    items = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(had)))}
    events = [(user, items[item]) for user, row in enumerate(had) for item in row[:-2]]
    batches = Batches(events, len(items))
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    score = layers.Dot(axes=1)(
        [layers.Embedding(len(had), WIDTH)(user), layers.Embedding(len(items), WIDTH)(item)]
    )
    score = layers.Add()([score, layers.Embedding(len(items), 1)(item)])
    model = keras.Model((user, item), score)
    model.compile(
        keras.optimizers.AdamW(2e-3, weight_decay=1e-4, global_clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    ends = EpochEnds()
    model.fit(batches, epochs=arguments.epochs, callbacks=[ends], verbose=0)
    seconds = ends.times[-1] - ends.times[0]
    print(len(events) * (arguments.epochs - 1) / seconds)


if __name__ == "__main__":
    main()
