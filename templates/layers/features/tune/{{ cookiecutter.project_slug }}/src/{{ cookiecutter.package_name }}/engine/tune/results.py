"""What a study came to: a table, figures, and the best settings as ``configs/tuned.yaml``."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from ..figures import COLORS, figure
from ..files import write_text
from ..tables import write_csv
from .space import tidy
from .study import ENDED, Study, is_default
from .trial import describe

TABLE_ROWS = 5  # trials of the table
ENOUGH = 8  # complete trials from which on importance says something
MUTED = "#7a8ba3"


def best_trials(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, the best first."""
    sign = 1 if study.space.file.minimizes else -1
    return sorted(study.trials(TrialState.COMPLETE), key=lambda t: (sign * _value(t), t.number))


def print_table(study: Study) -> None:
    """Print the best trials beside the configuration as it was given."""
    ranked = best_trials(study)
    shown = ranked[:TABLE_ROWS]
    shown += [trial for trial in ranked[TABLE_ROWS:] if is_default(trial)]
    names = list(study.space.fields)
    rows = [("trial", study.space.file.goal, *names)]
    rows += [(_label(t), f"{_value(t):.5g}", *(_format(t.params[n]) for n in names)) for t in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def write_tuned(
    file: Path, study: Study, others: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Write the best settings as a configuration, and return them.

    Args:
        file: to write.
        study: whose best trial it is.
        others: fields of the file that the search was given, which is not read then.
        command: how to train with it.
    """
    best = best_trials(study)[0]
    sections: dict[str, dict[str, Any]] = {}
    for name, value in {**others, **tidy(best.params)}.items():
        section, field = name.split(".")
        sections.setdefault(section, {})[field] = value
    ended = len(study.trials(*ENDED))
    lines = [
        f"# Best of {ended} trials of the study {study.name!r}: trial {_label(best)},",
        f"# {study.space.file.goal} {_value(best):.6g}. To train with it and to measure the test",
        "# split:",
        f"# {command}",
        yaml.safe_dump(sections, sort_keys=False, allow_unicode=True),
    ]
    write_text(file, "\n".join(lines))
    return tidy(best.params)


def measure_importance(study: Study) -> dict[str, float]:
    """Return how much each field matters for the goal, the most important one first.

    The shares add up to 1. They are empty where there are too few trials to tell.
    """
    if len(study.trials(TrialState.COMPLETE)) < ENOUGH:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(study.study)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}


def write_figures(folder: Path, study: Study, importance: Mapping[str, float]) -> None:
    """Draw the curve of the search and the importance of the fields, and write all trials.

    Args:
        folder: of the study.
        study: it.
        importance: see ``measure_importance``.
    """
    _draw_curve(folder / "curve.svg", study)
    if importance:
        _draw_importance(folder / "importance.svg", importance)
    _write_trials(folder / "trials.csv", study)


def _draw_curve(path: Path, study: Study) -> None:
    ended = study.trials(*ENDED)
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    stopped = [t for t in ended if t.state == TrialState.PRUNED and t.value is not None]
    better = min if study.space.file.minimizes else max
    text = "The goal of each trial of the search, and the best so far; as given: trial 0."
    with figure(path, 6.4, 3.8, description=text) as axes:
        for trials, marker, color, label in (
            (complete, "o", COLORS["validation"], "trials"),
            (stopped, "x", MUTED, "stopped early"),
        ):
            if trials:
                places = [t.number for t in trials], [_value(t) for t in trials]
                axes.scatter(*places, marker=marker, color=color, s=24, label=label)
        best = [better(_value(t) for t in complete[: i + 1]) for i in range(len(complete))]
        numbers = [trial.number for trial in complete]
        axes.step(numbers, best, where="post", color=COLORS["validation"], label="best so far")
        for trial in filter(is_default, complete):
            axes.axhline(_value(trial), color=MUTED, linestyle=":", label="as given")
        axes.set(xlabel="trial", ylabel=study.space.file.goal)
        axes.xaxis.get_major_locator().set_params(integer=True)
        # A trial that went wrong would flatten all others.
        values = sorted(_value(trial) for trial in complete)
        if study.space.file.minimizes and len(values) > 3:
            axes.set_ylim(top=min(axes.get_ylim()[1], 3 * values[len(values) // 2]))
        axes.legend(frameon=False)


def _draw_importance(path: Path, importance: Mapping[str, float]) -> None:
    names = list(importance)[::-1]
    text = "How much of the differences between the trials each searched field explains."
    with figure(path, 6.4, 1.0 + 0.35 * len(names), description=text) as axes:
        axes.barh(names, [importance[name] for name in names], color=COLORS["validation"])
        axes.set(xlabel="share of the differences between trials that the field explains")


def _write_trials(path: Path, study: Study) -> None:
    names = list(study.space.fields)
    header = ["trial", "state", study.space.file.goal, "seconds", "run", "reason", *names]
    rows = [
        [
            trial.number,
            trial.state.name.lower(),
            "" if trial.value is None else trial.value,
            trial.user_attrs.get("seconds", ""),
            trial.user_attrs.get("run", ""),
            trial.user_attrs.get("reason", ""),
            *(tidy(trial.params).get(name, "") for name in names),
        ]
        for trial in study.trials()
    ]
    write_csv(path, header, rows)


def describe_importance(importance: Mapping[str, float]) -> str:
    """Return the importance of the fields as a line."""
    return describe({name: f"{share:.0%}" for name, share in importance.items()})


def _label(trial: FrozenTrial) -> str:
    return f"{trial.number} (as given)" if is_default(trial) else str(trial.number)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
