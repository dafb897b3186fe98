"""The page of ``runs compare --html``: metrics, configurations and curves of runs side by side."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import PACKAGE, strategy
from ..bootstrap import Interval, compare
from ..commands import Project
from ..commands.runs import flat_config
from ..runs import Run
from .html import Section, draw_figure, format_range, join, paragraph, table
from .page import write_sections

COLORS = ("#1d4ed8", "#c2410c", "#15803d", "#7c3aed", "#be185d", "#0e7490")
MAX_CURVES = len(COLORS)


def write_comparison(project: Project, runs: Sequence[Run], path: Path) -> None:
    """Write a page that compares runs; differences are to the first of them.

    Args:
        project: loads the configurations and the task.
        runs: two at least, or there is nothing to compare.
        path: where the page goes.
    """
    sections = [
        _compare_metrics(runs),
        _compare_models(project, runs),
        _compare_configurations(runs),
        _compare_curves(runs),
    ]
    made = [section for section in sections if section is not None]
    title = f"{PACKAGE}: {', '.join(run.id for run in runs)}"
    write_sections(path, title, made)


def _compare_metrics(runs: Sequence[Run]) -> Section:
    columns = [run.summary["metrics"] if run.summary else {} for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, *(column.get(name, "") for column in columns)) for name in names]
    header = ["metric", *(run.id for run in runs)]
    return Section("metrics", "Metrics", table(header, rows, "Metrics of the test split"))


def _compare_models(project: Project, runs: Sequence[Run]) -> Section:
    """Evaluate the models anew, on the same examples where their data is the same."""
    title = "Differences to the first run"
    if len(runs) < 2:
        return Section("differences", title, paragraph("There is one run alone."))
    if not all(run.is_tested for run in runs):
        text = (
            "Some runs, such as those of a search, have not seen the test split, and must not yet."
        )
        return Section("differences", title, paragraph(text))
    digests = {run.summary["data"]["digest"] if run.summary else None for run in runs}
    if len(digests) > 1 or None in digests:
        text = "The runs are unfinished or have other data: their models cannot be compared."
        return Section("differences", title, paragraph(text))
    first, *others = _weigh_all(project, runs)
    rows = [
        (run.id, name, *_describe(compare(weighted[name], first[0][name], *first[1])))
        for run, (weighted, _) in zip(runs[1:], others, strict=True)
        for name in weighted
        if name in first[0]
    ]
    if not rows:
        text = "The task has no metrics of weighted examples, from which intervals come."
        return Section("differences", title, paragraph(text))
    header = ["run", "metric", "better by", "95 % interval", "verdict"]
    return Section("differences", title, table(header, rows, "Paired bootstrap, same examples"))


def _weigh_all(project: Project, runs: Sequence[Run]) -> list[Any]:
    """Return of each run its weighted metrics on the test split, and (size, groups) of that."""
    strategy.prepare(project.load_config().runtime)
    task = project.load_task()
    from ..trained_models import find_artifact

    weighed = []
    for run in runs:
        config = project.load_config(base=run.config_file)
        model, _ = find_artifact(run.id, task, config)
        split = task.load(config, model.preprocessing).test
        outputs = model.predict_split(split, config.data.batch_size)
        metrics = task.weighted_metrics(split, outputs, model.preprocessing)
        weighed.append((metrics, (len(split), split.groups)))
    return weighed


def _describe(difference: Interval) -> tuple[float, str, str]:
    if not math.isfinite(difference.low):
        return difference.value, "", "undefined"
    interval = format_range(difference.low, difference.high)
    verdict = "within noise"
    if difference.excludes_zero:
        verdict = "better" if difference.value > 0 else "worse"
    return difference.value, interval, verdict


def _compare_configurations(runs: Sequence[Run]) -> Section:
    columns = [flat_config(run) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, *(str(column.get(name, "")) for column in columns)) for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return Section("fields", "Configuration", paragraph("All fields are the same."))
    header = ["field", *(run.id for run in runs)]
    return Section("fields", "Configuration", table(header, rows, "Fields that differ"))


def _compare_curves(runs: Sequence[Run]) -> Section | None:
    epochs = [{line["epoch"]: line["metrics"] for line in run.read_metrics()} for run in runs]
    every = {name for run in epochs for metrics in run.values() for name in metrics}
    names = sorted(name for name in every if name.startswith("validation/"))
    if not names:
        return None
    parts: list[Markup] = []
    for name in names:
        _draw_curve(parts, name, runs, epochs)
    text = f"Of more than {MAX_CURVES} runs, the first {MAX_CURVES} are drawn."
    parts += [paragraph(text, "note")] if len(runs) > MAX_CURVES else []
    return Section("curves", "Curves", join(parts))


def _draw_curve(
    parts: list[Markup], name: str, runs: Sequence[Run], epochs: Sequence[dict[int, Any]]
) -> None:
    description = f"{name} after each epoch of each run."
    with draw_figure(parts, name, 6.4, 3.6, description) as axis:
        for run, by_epoch, color in zip(runs, epochs, COLORS, strict=False):
            points = [(e, m[name]) for e, m in by_epoch.items() if name in m]
            if points:
                axis.plot(*zip(*points, strict=True), color=color, marker=".", label=run.id)
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False)
