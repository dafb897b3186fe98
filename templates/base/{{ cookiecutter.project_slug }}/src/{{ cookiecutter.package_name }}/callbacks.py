"""What happens beside training: the journal of metrics, plain progress lines, the guards."""

import logging
import math
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

from .errors import Diverged
from .runs import Run

log = logging.getLogger(__package__)

Sink = Callable[[dict[str, float], int], None]


class Journal(keras.callbacks.Callback):
    """Counts steps over all phases, writes ``metrics.jsonl``, and stops where it must.

    Args:
        every: steps between two lines within an epoch.
        last_step: training stops after this step.
        epochs: of all phases together, for the lines of the log.
        sink: gets the metrics of each epoch, and its last step.
    """

    def __init__(self, run: Run, every: int, last_step: int, epochs: int, sink: Sink) -> None:
        super().__init__()
        self.run, self.every, self.last_step, self.sink = run, every, last_step, sink
        self.step = 0
        self.epoch = 0
        self.epochs = epochs
        self._epoch_began_at = 0
        self._clock = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch += 1
        self._epoch_began_at = self.step
        self._clock = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        before, self.step = self.step, self._epoch_began_at + batch + 1
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise Diverged(
                f"training diverged: the loss is {loss} at step {self.step}; try a lower "
                "train.learning_rate or a lower train.gradient_clip_norm."
            )
        if self.step // self.every > before // self.every:
            self.run.append_metrics(self.step, self.epoch, split_metrics(logs))
        if self.step >= self.last_step:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        metrics = split_metrics(logs or {})
        metrics["train/learning_rate"] = float(self.model.optimizer.learning_rate)
        self.run.append_metrics(self.step, self.epoch, metrics)
        self.sink(metrics, self.step)
        # On a terminal the bar says the same, so there the line goes to the log file alone.
        log.log(
            logging.DEBUG if progress_bar() else logging.INFO,
            "epoch %d/%d  step %d  %.1f s  %s",
            self.epoch,
            self.epochs,
            self.step,
            time.perf_counter() - self._clock,
            "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
        )


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights with the lowest validation loss of all phases, and stops in time.

    Args:
        core: whose weights are kept and restored.
        patience: epochs of a phase without a new best before it stops; 0: never.
    """

    def __init__(self, core: keras.Model, patience: int) -> None:
        super().__init__()
        self.core, self.patience = core, patience
        self.loss = math.inf
        self.weights: list[np.ndarray] | None = None
        self.waited = 0

    def on_train_begin(self, logs=None):
        self.waited = 0

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.loss:
            self.loss, self.weights, self.waited = logs["val_loss"], self.core.get_weights(), 0
            return
        self.waited += 1
        if self.patience and self.waited >= self.patience:
            self.model.stop_training = True

    def restore(self) -> None:
        """Give the core the best weights."""
        if self.weights is not None:
            self.core.set_weights(self.weights)


def split_metrics(logs: dict[str, float]) -> dict[str, float]:
    """Keras's names as ``split/metric``: ``val_loss`` is ``validation/loss``."""
    named = {}
    for name, value in logs.items():
        split, metric = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
        named[f"{split}/{metric}"] = float(value)
    return named


def progress_bar() -> int:
    """Keras's ``verbose``: a bar on a terminal, nothing beside the log's lines elsewhere."""
    return 1 if sys.stdout.isatty() else 0
