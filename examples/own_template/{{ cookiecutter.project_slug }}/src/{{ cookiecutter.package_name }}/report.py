"""Metrics, slices and figures of forecasts."""

from pathlib import Path
from typing import cast

import numpy as np

from .data import Windows
from .engine.figures import figure
from .engine.interfaces import Split
from .engine.tables import write_csv
from .engine.weighted_metrics import WeightedMetric
from .preprocessing import Preprocessing

SHOWN_WINDOWS = 4  # in the figure
SHOWN_MISTAKES = 20  # in the table
MODEL, NAIVE = "#1d4ed8", "#c2410c"


def as_windows(split: Split) -> Windows:
    """Return a split of this project's data as what it is."""
    return cast("Windows", split)


# === Metrics ===


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    """Measure forecasts.

    ``skill`` is the share of the seasonal naive forecast's error that is gone: 0 is no better, 1 is
    perfect. It comes first, as the metric that matters most must be one where higher is better.
    ``mase`` is the mean absolute error over that of the seasonal naive forecast in the training
    days of the series (Hyndman & Koehler 2006), ``smape`` the symmetric percentage error in
    [0, 2].

    Args:
        split: the windows.
        outputs: (size, horizon) forecasts in the unit of the series.
        preprocessing: part of the engine's interface.
    """
    even = np.ones((1, len(split)))
    metrics = weighted_metrics(split, outputs, preprocessing)
    return {name: float(metric.compute(even)[0]) for name, metric in metrics.items()}


def weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, WeightedMetric]:
    """Return the metrics of ``measure`` for weighted windows."""
    windows = as_windows(split)
    error, naive = (_scale(windows, forecast) for forecast in (outputs, windows.naive))

    def compute_skill(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - (weights @ error) / (weights @ naive)

    total = np.abs(outputs) + np.abs(split.targets)
    percentage = 2 * np.abs(outputs - split.targets) / np.where(total > 0, total, 1)
    return {
        "skill": WeightedMetric(compute_skill),
        "mase": WeightedMetric.mean(error, lower_is_better=True),
        "smape": WeightedMetric.mean(percentage.mean(axis=1), lower_is_better=True),
    }


def _scale(windows: Windows, forecast: np.ndarray) -> np.ndarray:
    """Return (size,) the mean absolute error of each window over its series' scale."""
    return np.abs(forecast - windows.targets).mean(axis=1) / windows.scales


def slices(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,): whether a holiday is ahead, and the mean of the targets."""
    windows = as_windows(split)
    return {
        "holiday": np.where(windows.has_holiday, "ahead", "none"),
        "mean of a day": windows.targets.mean(axis=1).astype("float64"),
    }


# === Figures and tables ===


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write forecasts, errors by the day ahead, errors by series and the worst windows.

    Args:
        folder: where to write.
        name: of the split.
        split: its windows.
        outputs: (size, horizon) forecasts in the unit of the series.
        preprocessing: part of the engine's interface.
    """
    windows = as_windows(split)
    errors = _scale(windows, outputs)
    _draw_forecasts(folder / f"{name}_forecasts.svg", windows, outputs)
    _draw_days_ahead(folder / f"{name}_days_ahead.svg", windows, outputs)
    series = windows.groups if windows.groups is not None else windows.ids
    rows = [(s, f"{errors[series == s].mean():.4f}") for s in np.unique(series)]
    write_csv(folder / f"{name}_series.csv", ["series", "mase"], rows)
    worst = np.argsort(-errors, kind="stable")[:SHOWN_MISTAKES]
    sums = zip(windows.ids[worst], outputs[worst], windows.targets[worst], strict=True)
    mistakes = [(i, f"{a.sum():.0f}", f"{b.sum():.0f}") for i, a, b in sums]
    write_csv(folder / f"{name}_mistakes.csv", ["window", "forecast", "actual"], mistakes)


def _draw_forecasts(path: Path, windows: Windows, outputs: np.ndarray) -> None:
    """Draw some windows, those with a holiday first: actual days, forecast, seasonal naive."""
    order = np.argsort(~windows.has_holiday, kind="stable")
    shown = order[:: max(1, len(order) // (2 * SHOWN_WINDOWS))][:SHOWN_WINDOWS]
    text = "Actual days of some windows, the forecast, and the same days of the last season."
    size = {"ncols": len(shown), "squeeze": False}
    with figure(path, 3.6 * len(shown), 3.2, description=text, **size) as axes:
        ahead = np.arange(1, outputs.shape[1] + 1)
        for axis, place in zip(axes[0], shown, strict=True):
            axis.plot(ahead, windows.targets[place], color="black", label="actual")
            axis.plot(ahead, outputs[place], color=MODEL, label="forecast")
            axis.plot(ahead, windows.naive[place], color=NAIVE, ls=":", label="seasonal naive")
            axis.set(title=windows.ids[place], xlabel="days ahead", ylim=(0, None))
        axes[0][0].legend(frameon=False)


def _draw_days_ahead(path: Path, windows: Windows, outputs: np.ndarray) -> None:
    """Draw the scaled error of each day ahead, beside that of the seasonal naive forecast."""
    text = "Mean scaled error of each day ahead, of the model and of the seasonal naive forecast."
    with figure(path, 6.4, 3.6, description=text) as axis:
        ahead = np.arange(1, outputs.shape[1] + 1)
        for label, color, part in (("model", MODEL, outputs), ("naive", NAIVE, windows.naive)):
            errors = np.abs(part - windows.targets) / windows.scales[:, None]
            axis.plot(ahead, errors.mean(axis=0), color=color, label=label)
        axis.set(xlabel="days ahead", ylabel="scaled error", ylim=(0, None))
        axis.legend(frameon=False)
