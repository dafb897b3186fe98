"""Comparing an exported model, in its own runtime, with the one that was trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProjectError
from ..interfaces import Metrics, Split
from .source import Inputs, Source

Run = Callable[[Inputs], np.ndarray]

BATCH = 64  # examples that are predicted at a time
FLOAT32_TOLERANCE = 1e-4  # largest difference of outputs
FLOAT16_TOLERANCE = 1e-2  # the same, as a share of the largest output
SECONDS, CALLS = 1.0, 500  # that the speed is measured for, at most


@dataclass(frozen=True)
class Measurement:
    """What a model comes to.

    Attributes:
        bytes: size of its file or folder.
        milliseconds: that one example takes, the median of many calls.
    """

    metrics: Metrics
    bytes: int
    milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """An exported model beside the one that was trained, on the same examples.

    Attributes:
        split: the name of the split that the examples are of.
        headline: the name of the metric that matters most.
        lower_is_better: whether it is a loss or the like.
        difference: the largest one between outputs.
        largest: the largest output of the trained model, as an absolute value.
    """

    quantization: str | None
    split: str
    examples: int
    headline: str
    lower_is_better: bool
    difference: float
    largest: float
    original: Measurement
    exported: Measurement

    @property
    def drop(self) -> float:
        """How much worse the exported model is in the metric that matters most."""
        fall = self.original.metrics[self.headline] - self.exported.metrics[self.headline]
        return -fall if self.lower_is_better else fall

    def table(self) -> list[str]:
        """Return metrics, size and speed of both as the lines of a Markdown table."""
        rows = [
            (f"{self.split}/{name}", f"{value:.4f}", f"{self.exported.metrics[name]:.4f}")
            for name, value in self.original.metrics.items()
        ]
        rows += [
            (
                "size, kB",
                f"{self.original.bytes / 1e3:,.0f}",
                f"{self.exported.bytes / 1e3:,.0f}",
            ),
            (
                "one example, ms",
                f"{self.original.milliseconds:.3g}",
                f"{self.exported.milliseconds:.3g}",
            ),
        ]
        cells = [("", "trained", "exported"), ("---",) * 3, *rows]
        return [
            *(f"| {' | '.join(row)} |" for row in cells),
            "",
            f"Outputs for {self.examples} examples differ by up to {self.difference:.2g}; the "
            f"largest is {self.largest:.3g}.",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return all of it for ``report.json``."""
        return asdict(self)

    def check(self, max_drop: float) -> None:
        """Refuse a model that differs too much.

        Args:
            max_drop: of the metric that matters most, where weights or values are rounded.

        Raises:
            ProjectError: it says by how much it differs, and how much is allowed.
        """
        bound = f"{FLOAT32_TOLERANCE:g}"
        is_close = self.difference <= FLOAT32_TOLERANCE
        if self.quantization == "float16":
            bound = f"{FLOAT16_TOLERANCE:g} of the largest output, {self.largest:.3g}"
            is_close = self.difference <= FLOAT16_TOLERANCE * self.largest
        elif self.quantization:
            bound, is_close = "any finite number", np.isfinite(self.difference)
        if not is_close:
            raise ProjectError(
                f"the exported model's outputs differ by up to {self.difference:.3g} from those of "
                f"the trained one; allowed: {bound}. Nothing was kept."
            )
        if self.quantization and not self.drop <= max_drop:
            before, after = (m.metrics[self.headline] for m in (self.original, self.exported))
            raise ProjectError(
                f"{self.split}/{self.headline} {'rises' if self.lower_is_better else 'falls'} from "
                f"{before:.4f} to {after:.4f} with {self.quantization}; allowed is --max-drop "
                f"{max_drop:g}. Nothing was kept."
            )


def compare(
    source: Source,
    run: Run,
    path: Path,
    original: Path,
    split_name: str,
    split: Split,
    quantization: str | None,
) -> Comparison:
    """Predict examples with both models.

    Args:
        source: the trained model.
        run: the exported one, in its own runtime.
        path: of its file or folder.
        original: file of the trained model.
        split_name: of the split that the examples are of.
        split: the examples.
        quantization: of the exported model, or None.
    """
    expected, kept = _predict(source, source.run, split)
    found, found_kept = _predict(source, run, split)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype("float64") - expected)
    first = next(source.samples(split, 1))
    task, preprocessing = source.model.task, source.model.preprocessing
    metrics = task.measure(split, kept, preprocessing)
    weighted = task.weighted_metrics(split, kept, preprocessing)
    headline = next((name for name in weighted if name in metrics), next(iter(metrics)))
    return Comparison(
        quantization,
        split_name,
        len(split),
        headline,
        weighted[headline].lower_is_better
        if headline in weighted
        else headline in task.lower_is_better,
        float(difference.max()) if np.isfinite(difference).all() else float("inf"),
        float(np.abs(expected).max()),
        Measurement(
            metrics,
            size_of(original),
            measure_speed(lambda: source.run(first)),
        ),
        Measurement(
            task.measure(split, found_kept, preprocessing),
            size_of(path),
            measure_speed(lambda: run(first)),
        ),
    )


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def measure_speed(call: Callable[[], Any]) -> float:
    """Return the milliseconds of a call, the median of many."""
    for _ in range(3):  # the first ones compile
        call()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < CALLS and time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1_000 * float(np.median(times)), 4)


def _predict(source: Source, run: Run, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs (size, …) for a split, and what the task keeps of them."""
    outputs, kept = list[np.ndarray](), list[np.ndarray]()
    for raw in split.batches(BATCH):
        outputs.append(run(source.pad(source.prepare(raw))))
        kept.append(source.model.task.postprocess(raw, outputs[-1], source.model.preprocessing))
    return np.concatenate(outputs), np.concatenate(kept)
