"""Progress of training: ``metrics.jsonl``, and a line or a bar for a person."""

import logging
import sys
import time

from .config_fields import BaseConfig
from .interfaces import DatasetSplits
from .runs import Run, Summary
from .strategy import Strategy

log = logging.getLogger(__name__)

ERASE = "\r\033[K"  # the line of a terminal
MAX_UNREADABLE = 20  # files that are listed one by one


class Progress:
    """Reports loss and metrics to ``metrics.jsonl`` and to the terminal.

    Args:
        run: whose ``metrics.jsonl`` is written; None: a worker, which leaves it to the chief.
        epochs: of all phases together.
    """

    def __init__(self, run: Run | None, epochs: int) -> None:
        self.run, self.epochs = run, epochs
        self._is_terminal = run is not None and sys.stdout.isatty()
        self._clock = 0.0

    def begin_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._clock = time.perf_counter()

    def update_bar(self, epoch: int, steps: int, total: int, loss: float) -> None:
        """Draw the bar after some of the epoch's ``total`` steps; ``loss`` is their mean loss."""
        if self._is_terminal:
            bar = "=" * (30 * steps // total)
            line = f"epoch {epoch}/{self.epochs}  [{bar:<30}] {steps}/{total}  loss {loss:.4g}"
            print(f"{ERASE}{line}", end="", flush=True)

    def write(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Write a line of ``metrics.jsonl``."""
        if self.run:
            self.run.append_metrics(step, epoch, metrics)

    def end_epoch(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Write the metrics of an epoch, for the file and for a person."""
        self.write(step, epoch, metrics)
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


def report_start(run: Run, config: BaseConfig, data: DatasetSplits, strategy: Strategy) -> None:
    """Log where a run trains, on what, and what of the data was left out.

    Args:
        run: its folder.
        config: of the run.
        data: its splits.
        strategy: the devices.
    """
    sizes = ", ".join(f"{count} {name}" for name, count in data.sizes().items())
    log.info("Run %s: %s", run.id, strategy.reason)
    log.info("Data %s: %s examples", data.source, sizes)
    if config.train.init_from:
        log.info("Starts from the weights of %s", config.train.init_from)
    if data.duplicates:
        log.info("Copies of other examples: %d; no two splits share one", data.duplicates)
    for example, reason in data.unreadable[:MAX_UNREADABLE]:
        log.warning("left out %s: %s", example, reason)
    if len(data.unreadable) > MAX_UNREADABLE:
        log.warning("left out %d more unreadable files", len(data.unreadable) - MAX_UNREADABLE)


def report_end(run: Run, summary: Summary) -> None:
    """Log the test metrics beside those of the baselines, and where everything is.

    Args:
        run: its folder.
        summary: of the finished run.
    """
    rows = [{"name": summary["model"], "metrics": summary["metrics"]}, *summary["baselines"]]
    names = [n for n in summary["metrics"] if any(n in b["metrics"] for b in summary["baselines"])]
    names = names or list(summary["metrics"])[:3]
    width = max(len(row["name"]) for row in rows)
    log.info("")
    log.info("%s  %s", " " * width, "  ".join(names))
    for row in rows:
        values = [f"{row['metrics'].get(n, float('nan')):<{len(n)}.4f}" for n in names]
        log.info("%-*s  %s", width, row["name"], "  ".join(values).rstrip())
    if ahead := summary["ahead"]:
        place = "ahead of" if ahead["by"] > 0 else "no better than" if not ahead["by"] else "behind"
        by = abs(ahead["by"])
        points = f"{by:.4f} " if ahead.get("lower_is_better") else f"{100 * by:.2f} points "
        points = points if by else ""
        log.info("\nIn %s %s%s %s", ahead["metric"], points, place, ahead["of"])
    log.info("\nRun folder: %s", run.path)
    mlflow = summary["mlflow"]
    if mlflow is None or not mlflow["complete"]:
        return
    if mlflow["tracking_uri"].startswith("sqlite"):
        log.info("MLflow UI:  mlflow ui --backend-store-uri %s", mlflow["tracking_uri"])
    else:
        log.info("MLflow:     %s, run %s", mlflow["tracking_uri"], mlflow["run_id"])
