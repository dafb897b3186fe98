"""Inspect a clinical table before training, and propose a schema for a person to review."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import Config, DataConfig, split_commas
from ..datasets.frames import concat_chunks, read_chunks
from ..datasets.schema import MAX_OUTSIDE_SHARE, Column, Schema, to_days, to_text
from ..datasets.target_leakage import find_giveaways
from ..engine.errors import DataProblem
from ..engine.findings import MIN_ROWS, Findings
from ..engine.inspection.columns import format_counts
from .schema_inference import INPUT_KINDS, find_sentinels, infer_columns, parse_numbers

SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_MISSING_RATE = 0.5  # of a column, without a warning
# Ratio of neighbouring values from which a gap may separate two units; that of the medians on both
# sides must be twice as large.
MIN_GAP_RATIO = 2.0
MIN_EVENTS_PER_COLUMN = 10  # fewer make risks too extreme (Peduzzi et al., 1996)
HEADER = """\
# Columns of {name}, as proposed by inspect. Before training, a person who knows the data must
#   - check every column, and correct its kind, unit and values;
#   - correct min and max, the plausible range of a number: they are derived from the data,
#     including its mistakes;
#   - check which column is the outcome, and which of its values means yes;
#   - set kind: ignored for columns that are not known yet when a risk is predicted;
#   - keep the quotes around yes and no, and around values that look like numbers;
#   - then enter a name in reviewed_by.
"""


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Inspect a table with one row for each patient or visit.

    Args:
        path: a csv, tsv or parquet file.
        config: the configuration, with the fields that the user has set.
        given: names of the ``data`` fields that the user has set.

    Returns:
        Facts, warnings, the ``data`` fields to train with, and the proposed schema.

    Raises:
        DataProblem: the file is not a table, has no rows, or no column looks like the outcome.
    """
    frame = _read(path)
    cells = {str(name): to_text(frame[name]) for name in frame}
    findings = Findings()
    schema = Schema(columns=infer_columns(cells, split_commas(config.data.allow), findings))
    num_inputs = len(schema.names_of(*INPUT_KINDS))
    findings.add_fact("file", f"{len(frame)} rows, {path.suffix.removeprefix('.')}")
    findings.add_fact("columns", f"{len(cells)}, of which {num_inputs} are inputs of the model")
    for name, column in schema.columns.items():
        findings.add_fact(f"column {name}", _describe_column(column, cells[name]))
    findings.add_fact("ranges", "derived from this data, except well-known ones")
    for name, column in schema.columns.items():
        _check_column(name, column, cells[name], findings)
    _check_patients(schema, cells, findings)
    _check_rows(schema, frame, cells, findings)
    _propose_files(path, schema, config.data, given, findings)
    return findings


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(
            f"PATH: {str(path)!r} is not a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file."
        )
    frame = concat_chunks(read_chunks(path), f"PATH: {str(path)!r} has no rows.")
    duplicates = frame.columns[frame.columns.duplicated()]
    if len(duplicates):
        raise DataProblem(f"PATH: two columns are named {str(duplicates[0])!r}.")
    return frame


def _propose_files(
    path: Path, schema: Schema, data: DataConfig, given: set[str], findings: Findings
) -> None:
    """Add the ``data`` fields to train with, and the schema as a file beside them."""
    source = "parquet" if path.suffix == ".parquet" else "csv"
    findings.fields |= {"source": source, "path": str(path)}
    for name in DataConfig.model_fields:
        if name in given and name != "schema_file":
            findings.fields.setdefault(name, getattr(data, name))
    text = HEADER.format(name=path.name) + schema.to_yaml()
    findings.beside["schema_file"] = ("_schema.yaml", text)


# === Facts ===


def _describe_column(column: Column, cells: np.ndarray) -> str:
    """Describe a column in a line; an ignored one by its kind alone, since it may identify."""
    present = cells[cells != ""]
    text: str = column.kind
    if column.kind == "number":
        numbers = parse_numbers(present)
        numbers = numbers[np.isfinite(numbers)]
        text += f", {numbers.min():g} to {numbers.max():g}; plausible {column.range}"
    elif column.kind in ("outcome", "boolean"):
        yes = int((present == column.yes).sum())
        text += f", {column.yes!r} means yes: {yes} of {len(present)} ({yes / len(present):.1%})"
    elif column.kind in ("category", "site", "split"):
        text += f", {format_counts(Counter(present))}"
    elif column.kind in ("date", "time"):
        days = [np.datetime64(int(f(to_days(present))), "D") for f in (np.nanmin, np.nanmax)]
        text += f", {days[0]} to {days[1]}"
    elif column.kind == "patient":
        text += f", {len(set(present))} different"
    missing = 1 - len(present) / len(cells)
    return text + (f"; {missing:.1%} missing" if missing else "")


# === Warnings ===


def _check_column(name: str, column: Column, cells: np.ndarray, findings: Findings) -> None:
    missing = float((cells == "").mean())
    if column.kind in INPUT_KINDS and missing > MAX_MISSING_RATE:
        findings.warn(f"column {name!r}: {missing:.0%} of its values are missing.")
    if column.kind != "number":
        return
    numbers = parse_numbers(cells)
    numbers = numbers[np.isfinite(numbers)]
    for code, count in find_sentinels(numbers).items():
        findings.warn(
            f"column {name!r}: {code} occurs {count} times, far outside the rest; if it means "
            f"missing, add missing: ['{code}'] to the column in the schema file."
        )
    if groups := _find_two_groups(numbers):
        findings.warn(
            f"column {name!r}: its values form two distant groups, {groups[0]:g} to "
            f"{groups[1]:g} and {groups[2]:g} to {groups[3]:g}; if they are in two units, convert "
            "one of them before training."
        )
    low = -np.inf if column.min is None else column.min
    high = np.inf if column.max is None else column.max
    outside = float(np.mean((numbers < low) | (numbers > high)))
    if outside > MAX_OUTSIDE_SHARE:
        findings.warn(
            f"column {name!r}: {outside:.0%} of its values are outside {column.range}; it may be "
            "in another unit. Training requires the right unit and range."
        )


def _find_two_groups(numbers: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the ends of two groups of positive numbers with a wide gap between them, or None.

    The same quantity in two units forms such groups.
    """
    ordered = np.sort(numbers[numbers > 0])
    edge = max(5, int(np.ceil(0.05 * len(ordered))))
    if len(np.unique(ordered)) < MIN_ROWS or len(ordered) < 2 * edge:
        return None
    gaps = ordered[edge : len(ordered) - edge + 1] / ordered[edge - 1 : len(ordered) - edge]
    split = edge + int(np.argmax(gaps))
    low, high = ordered[:split], ordered[split:]
    if high[0] - low[-1] <= np.diff(np.unique(ordered)).min():
        return None  # neighbours, such as one and two days
    if gaps.max() < MIN_GAP_RATIO or np.median(high) < 2 * MIN_GAP_RATIO * np.median(low):
        return None
    return low[0], low[-1], high[0], high[-1]


def _check_patients(schema: Schema, cells: dict[str, np.ndarray], findings: Findings) -> None:
    if not schema.patient:
        findings.warn(
            "no column is of kind patient, so every row counts as a patient. If patients have "
            "several rows, the model is tested on patients that it was trained on."
        )
        return
    names = cells[schema.patient]
    counts = pd.Series(names[names != ""], dtype=object).value_counts()
    if len(counts) == 1:
        findings.warn("all rows are of one patient; training needs at least two.")
    elif counts.max() > 1:
        findings.warn(
            f"patients have several rows: {len(counts)} patients in {counts.sum()} rows, "
            f"{counts.mean():.1f} on average and up to {counts.max()}; all rows of a patient stay "
            "in one split."
        )


def _check_rows(
    schema: Schema, frame: pd.DataFrame, cells: dict[str, np.ndarray], findings: Findings
) -> None:
    names = [name for name in cells if schema.columns[name].kind != "ignored"]
    duplicates = int(pd.DataFrame({name: cells[name] for name in names}).duplicated().sum())
    if duplicates:
        findings.warn(
            f"{duplicates} rows are duplicates: they equal an earlier row in all columns."
        )
    outcome = schema.columns[schema.outcome]
    values = cells[schema.outcome]
    events = int(min((values == outcome.yes).sum(), (values == outcome.no).sum()))
    num_inputs = len(schema.names_of(*INPUT_KINDS))
    if events < MIN_EVENTS_PER_COLUMN * num_inputs:
        findings.warn(
            f"few events: {events} rows with the rarer outcome for {num_inputs} columns, less than "
            f"{MIN_EVENTS_PER_COLUMN} a column; a model with fewer columns may be better."
        )
    _check_rejected_rows(schema, frame, findings)
    # Without ranges: a leak is one in any unit.
    for name, auroc in find_giveaways(_remove_ranges(schema).parse(frame), schema).items():
        findings.warn(
            f"column {name!r} alone predicts the outcome (AUROC {auroc:.3f}); if it is not known "
            "yet when a risk is predicted, set kind: ignored."
        )


def _check_rejected_rows(schema: Schema, frame: pd.DataFrame, findings: Findings) -> None:
    """Warn about the rows that training rejects, with reasons."""
    try:
        problems = schema.parse(frame).problems
    except DataProblem:
        return  # a column outside its range, of which ``_check_column`` warns
    first = {reason: row for row, reason in reversed(problems)}
    for reason, count in Counter(reason for _, reason in problems).items():
        findings.warn(f"{count} rows are rejected: {reason}; the first is {first[reason]}.")


def _remove_ranges(schema: Schema) -> Schema:
    no_range = {"min": None, "max": None}
    columns = {name: column.model_copy(update=no_range) for name, column in schema.columns.items()}
    return schema.model_copy(update={"columns": columns})
