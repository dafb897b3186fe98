"""The journal of training: ``metrics.jsonl``, a line or a bar for a person."""

import logging
import sys
import time

from .runs import Run

log = logging.getLogger(__package__)

ERASE = "\r\033[K"  # the line of a terminal


class Journal:
    """Tells how training goes.

    Args:
        run: whose ``metrics.jsonl`` is written; None: a worker that leaves it to the chief.
        epochs: of all phases together.
    """

    def __init__(self, run: Run | None, epochs: int) -> None:
        self.run, self.epochs = run, epochs
        self._is_terminal = run is not None and sys.stdout.isatty()
        self._clock = 0.0

    def begin_epoch(self) -> None:
        """An epoch begins."""
        self._clock = time.perf_counter()

    def progress(self, epoch: int, steps: int, of: int, loss: float) -> None:
        """So many steps of the epoch are done; the loss is that of the epoch so far."""
        if self._is_terminal:
            bar = "=" * (30 * steps // of)
            line = f"epoch {epoch}/{self.epochs}  [{bar:<30}] {steps}/{of}  loss {loss:.4g}"
            print(f"{ERASE}{line}", end="", flush=True)

    def line(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """A line of ``metrics.jsonl``."""
        if self.run:
            self.run.append_metrics(step, epoch, metrics)

    def end_epoch(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """The epoch's line, for the file and for a person."""
        self.line(step, epoch, metrics)
        if self._is_terminal:
            print(ERASE, end="", flush=True)
        level = logging.INFO if self.run else logging.DEBUG
        log.log(
            level,
            "epoch %d/%d  step %d  %.1f s  %s",
            epoch,
            self.epochs,
            step,
            time.perf_counter() - self._clock,
            "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
        )
