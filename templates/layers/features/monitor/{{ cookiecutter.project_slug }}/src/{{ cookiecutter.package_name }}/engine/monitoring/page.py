"""The page that ``monitor`` writes."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from ..report.html import (
    Section,
    draw_figure,
    facts,
    format_range,
    format_value,
    heading,
    join,
    paragraph,
    table,
)
from ..report.page import FILE, write_sections
from .bins import MISSING, OTHER, SMALL, CategoryBins, NumberBins
from .drift import ERROR_RATE, TITLES, ColumnDrift, Measure
from .performance import Performance
from .profile import INPUTS, PREDICTIONS
from .verdict import Verdict

MAX_FIGURES = 8  # of a section: the columns with the largest effects
MAX_BARS = 12  # of a figure
MARK = Markup('<strong class="bad">changed</strong>')
REFERENCE, SAMPLE = "#94a3b8", "#1d4ed8"  # seen on white and on black
TEXTS = {
    INPUTS: "The inputs beside those of the training split.",
    PREDICTIONS: "The answers beside those for the validation split.",
}
HOW_TO_READ = (
    "PSI, the population stability index, is 0 for equal shares of all bins; 0.1 is often called "
    "small, 0.25 large. The Wasserstein distance says by how many standard deviations numbers have "
    "moved on average, total variation which share of the rows is in another category. Two samples "
    "of the same data differ as well, the more so the fewer rows they have: that is the noise "
    "beside each value, from simulated pairs of samples of these sizes. An effect counts if it is "
    "past its limit and past its noise. If nothing has changed and rows are independent, the "
    f"probability that any effect of this page counts is {ERROR_RATE:.0%} by design; simulated "
    "with the default data of the templates it was 0 to 3 %."
)


def write_monitor_page(folder: Path, verdict: Verdict, title: str) -> Path:
    """Write the page and return its path.

    Args:
        folder: to write to.
        verdict: what it shows.
        title: of the model.
    """
    sections = [_make_answer(verdict, title)]
    if verdict.performance:
        sections.append(_make_performance(verdict.performance))
    for part, text in TEXTS.items():
        columns = [column for column in verdict.columns if column.part == part]
        if columns:
            sections.append(_make_part(part, text, columns, verdict.profile.is_private))
    sections.append(Section("reading", "How to read this", paragraph(HOW_TO_READ)))
    return write_sections(folder / FILE, f"Monitor: {title}", sections)


def summarize(verdict: Verdict) -> str:
    """Return the verdict in a sentence."""
    if verdict.outcome == "too few rows":
        return (
            f"{verdict.sample.rows} rows are too few to judge: min_rows is "
            f"{verdict.rules.min_rows}."
        )
    if verdict.outcome == "unchanged":
        return "Nothing has changed beyond its limit and beyond what chance explains."
    return f"Changed beyond its limit: {'; '.join(verdict.reasons)}."


def _make_answer(verdict: Verdict, title: str) -> Section:
    sample, profile = verdict.sample, verdict.profile
    body = [paragraph(summarize(verdict), "bad" if verdict.reasons else "lead")]
    if profile.notice:
        body.append(paragraph(profile.notice, "note"))
    rows = {
        "model": title,
        "compared": sample.source,
        "rows": sample.rows,
        "wrong rows": f"{sample.rejected} ({verdict.rejected_share:.1%})",
        "training rows": profile.rows[INPUTS],
        "validation rows": profile.rows[PREDICTIONS],
        "not in the sample": ", ".join(verdict.lacking),
    }
    body.append(facts(rows))
    if profile.is_private:
        text = f"Bins with fewer than {SMALL} persons are merged with others."
        body.append(paragraph(text, "note"))
    return Section("answer", "Has anything changed?", join(body))


def _make_performance(performance: Performance) -> Section:
    headline, behind = performance.headline, performance.behind
    text = (
        f"{performance.rows} rows have a label. {headline} is behind that of the test split by "
        f"{format_value(behind.value)} (95 %: {format_range(behind.low, behind.high)})."
    )
    if performance.limit is None:
        text += " There are too few labels for a verdict, or no limit is set."
    rows = [
        (name, value, _format_interval(performance, name), performance.reference.get(name, ""))
        for name, value in performance.metrics.items()
    ]
    header = ["metric", "now", "95 %", "test split"]
    body = [paragraph(text, "bad" if performance.is_past else ""), table(header, rows, "Metrics")]
    return Section("performance", "How good the answers were", join(body))


def _format_interval(performance: Performance, name: str) -> str:
    interval = performance.intervals.get(name)
    return format_range(interval.low, interval.high) if interval else ""


def _make_part(part: str, text: str, columns: list[ColumnDrift], is_private: bool) -> Section:
    names = [name for name in TITLES if any(m.name == name for c in columns for m in c.measures)]
    header = ["column", "rows", *(TITLES[name] for name in names), "verdict"]
    rows = [
        (
            column.name,
            int(column.counts.sum()),
            *(_format(column, name) for name in names),
            MARK if column.is_past else "",
        )
        for column in columns
    ]
    body = [paragraph(text), table(header, rows, f"Effect sizes of {part}, with their noise")]
    candidates = [column for column in columns if len(_select_bars(column)[0]) > 1]
    largest = candidates[:MAX_FIGURES]
    if len(candidates) > len(largest):
        body.append(heading(f"The {len(largest)} columns with the largest effects"))
    for column in largest:
        _draw(body, column)
    return Section(part, part.capitalize(), join(body))


def _format(column: ColumnDrift, name: str) -> Markup | str:
    measure = next((m for m in column.measures if m.name == name), None)
    if measure is None:
        return ""
    kind = "bad" if measure.is_past else ""
    value, noise = (format_value(float(number)) for number in (measure.value, measure.noise))
    return Markup('<span class="{}">{}</span> <small>(noise {})</small>').format(kind, value, noise)


def _draw(body: list[Markup], column: ColumnDrift) -> None:
    labels, reference, sample = _select_bars(column)
    places = np.arange(len(labels))
    text = (
        f"Share of the rows in each bin: grey in training, blue now. {_describe(column.measures)}"
    )
    with draw_figure(body, column.name, 6.4, 0.34 * len(labels) + 1.1, text) as axis:
        for offset, shares, colour, name in (
            (-0.2, reference, REFERENCE, "training"),
            (0.2, sample, SAMPLE, "now"),
        ):
            axis.barh(places + offset, 100 * shares, 0.4, color=colour, label=name)
        axis.set_yticks(places, labels)
        axis.invert_yaxis()
        axis.set_xlabel("% of the rows")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)


def _describe(measures: tuple[Measure, ...]) -> str:
    return ", ".join(f"{TITLES[m.name]} {format_value(float(m.value))}" for m in measures) + "."


def _select_bars(column: ColumnDrift) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return labels and shares of the bars: cells of numbers are taken together, if many."""
    pair = np.stack([column.reference, column.counts]).astype("float64")
    shares = pair / np.maximum(pair.sum(axis=1, keepdims=True), 1)
    if isinstance(column.bins, CategoryBins):
        labels = [*column.bins.names, OTHER, MISSING]
        order = np.argsort(-shares.max(axis=0)[:-2], kind="stable")
        first, rest = np.sort(order[: MAX_BARS - 2]), order[MAX_BARS - 2 :]
        shares[:, -2] += shares[:, rest].sum(axis=1)
        places = [*first, len(labels) - 2, len(labels) - 1]
        return _keep_filled([labels[i][:30] for i in places], shares[:, places])
    texts, places = _group_numbers(column.bins)
    bars = np.stack([shares[:, cells].sum(axis=1) for cells in places], axis=1)
    return _keep_filled(texts, bars)


def _group_numbers(bins: NumberBins) -> tuple[list[str], list[slice]]:
    """Return labels and cells of bars: those within the training data's range are few enough."""
    inside = bins.inside
    step = -(-(inside.stop - inside.start) // MAX_BARS)
    starts = range(inside.start, inside.stop, step)
    places = [slice(start, min(start + step, inside.stop)) for start in starts]
    texts = [
        f"{bins.edges[place.start - 1]:.4g} to {bins.edges[place.stop - 1]:.4g}" for place in places
    ]
    beyond = [slice(0, inside.start), slice(inside.stop, bins.size - 1)]
    missing = slice(bins.size - 1, bins.size)
    return (
        [f"under {bins.low:.4g}", *texts, f"over {bins.high:.4g}", MISSING],
        [beyond[0], *places, beyond[1], missing],
    )


def _keep_filled(labels: list[str], shares: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    places = np.flatnonzero(shares.sum(axis=0) > 0)
    return [labels[i] for i in places], shares[0, places], shares[1, places]
