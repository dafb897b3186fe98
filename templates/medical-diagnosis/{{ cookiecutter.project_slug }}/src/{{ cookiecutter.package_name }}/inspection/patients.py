"""What can be seen of a clinical table before anything is trained, and a schema to be reviewed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import Config, DataConfig
from ..datasets.frames import concat_chunks, read_chunks
from ..datasets.schema import MISPLACED, Column, Schema, as_days, as_text
from ..datasets.target_leakage import find_giveaways
from ..engine.errors import DataProblem
from ..engine.findings import MIN_ROWS, Findings, format_counts
from .schema_inference import SEEN, columns_of, numbers_of, sentinels

SUFFIXES = (".csv", ".tsv", ".parquet")
MANY_MISSING = 0.5  # share of a column
APART = 2.0  # ratio of neighbours between which two units may meet; of their medians twice that
EVENTS_PER_COLUMN = 10  # fewer make risks too extreme (Peduzzi et al. 1996)
HEADER = """\
# What the columns of {name} hold, as inspect_data guesses it. Before training, a person who knows
# the data has to
#   - read every column, and correct its kind, unit and values;
#   - correct least and most, outside of which a number is implausible: they are a proposal from
#     the data, mistakes in it included;
#   - make sure which column is the outcome, and how its yes and no are written;
#   - set kind: ignored for what is not known yet when a risk is asked for;
#   - keep the quotes around yes and no, and around values that look like numbers;
#   - then put a name into reviewed_by.
"""


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Look at a table (csv, tsv, parquet) with a row for each patient or visit.

    Args:
        config: what it should not guess.
        given: names of the ``data`` fields that are not to be guessed.

    Raises:
        DataProblem: it is no such table, has no rows, or no column looks like the outcome.
    """
    frame = _read(path)
    cells = {str(name): as_text(frame[name]) for name in frame}
    findings = Findings()
    allowed = {name.strip() for name in (config.data.allow or "").split(",")}
    schema = Schema(columns=columns_of(cells, allowed, findings))
    findings.add_fact("file", f"{len(frame)} rows, {path.suffix.removeprefix('.')}")
    findings.add_fact("columns", f"{len(cells)}, of which a model sees {len(schema.of(*SEEN))}")
    for name, column in schema.columns.items():
        findings.add_fact(f"column {name}", _describe_column(column, cells[name]))
    findings.add_fact("ranges", "a proposal from this data, except those that are well known")
    for name, column in schema.columns.items():
        _look_at_column(name, column, cells[name], findings)
    _look_at_patients(schema, cells, findings)
    _look_at_rows(schema, frame, cells, findings)
    _write(path, schema, config.data, given, findings)
    return findings


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(
            f"PATH: {str(path)!r} is no file that ends with "
            f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    frame = concat_chunks(read_chunks(path), f"PATH: {str(path)!r} has no rows.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataProblem(f"PATH: two columns are named {str(twice[0])!r}.")
    return frame


def _write(
    path: Path, schema: Schema, data: DataConfig, given: set[str], findings: Findings
) -> None:
    """The ``data`` fields to train with, and the schema beside them."""
    source = "parquet" if path.suffix == ".parquet" else "csv"
    findings.fields |= {"source": source, "path": str(path)}
    for name in DataConfig.model_fields:
        if name in given and name != "schema_file":
            findings.fields.setdefault(name, getattr(data, name))
    text = HEADER.format(name=path.name) + schema.to_yaml()
    findings.beside["schema_file"] = ("_schema.yaml", text)


# === Facts ===


def _describe_column(column: Column, cells: np.ndarray) -> str:
    """A line about a column; of one that is ignored, nothing that it holds."""
    there = cells[cells != ""]
    text = column.kind
    if column.kind == "number":
        numbers = numbers_of(there)
        numbers = numbers[np.isfinite(numbers)]
        text += f", {numbers.min():g} to {numbers.max():g}; plausible {column.range}"
    elif column.kind in ("outcome", "boolean"):
        yes = int((there == column.yes).sum())
        text += f", {column.yes!r} means yes: {yes} of {len(there)} ({yes / len(there):.1%})"
    elif column.kind in ("category", "site", "split"):
        text += f", {format_counts(Counter(there))}"
    elif column.kind in ("date", "time"):
        days = [np.datetime64(int(f(as_days(there))), "D") for f in (np.nanmin, np.nanmax)]
        text += f", {days[0]} to {days[1]}"
    elif column.kind == "patient":
        text += f", {len(set(there))} different"
    missing = 1 - len(there) / len(cells)
    return text + (f"; {missing:.1%} missing" if missing else "")


# === Warnings ===


def _look_at_column(name: str, column: Column, cells: np.ndarray, findings: Findings) -> None:
    missing = float((cells == "").mean())
    if column.kind in SEEN and missing > MANY_MISSING:
        findings.warn(f"column {name!r}: {missing:.0%} of its values are missing.")
    if column.kind != "number":
        return
    numbers = numbers_of(cells)
    numbers = numbers[np.isfinite(numbers)]
    for code, count in sentinels(numbers).items():
        findings.warn(
            f"column {name!r}: {code} occurs {count} times, far outside the rest; if it stands for "
            f"missing, write missing: ['{code}'] there in the schema file."
        )
    if groups := _groups_apart(numbers):
        findings.warn(
            f"column {name!r}: its values lie in two groups far apart, {groups[0]:g} to "
            f"{groups[1]:g} and {groups[2]:g} to {groups[3]:g}; if they are in two units, convert "
            "one of them before you train."
        )
    outside = float(np.mean((numbers < column.least) | (numbers > column.most)))
    if outside > MISPLACED:
        findings.warn(
            f"column {name!r}: {outside:.0%} of its values are outside {column.range}; it may be "
            "in another unit. Training refuses that until its unit and range are right."
        )


def _groups_apart(numbers: np.ndarray) -> tuple[float, float, float, float] | None:
    """The ends of two groups of positive numbers that nothing lies between, as the values in two
    units have them; None where there are no such groups."""
    ordered = np.sort(numbers[numbers > 0])
    edge = max(5, int(np.ceil(0.05 * len(ordered))))
    if len(np.unique(ordered)) < MIN_ROWS or len(ordered) < 2 * edge:
        return None
    gaps = ordered[edge : len(ordered) - edge + 1] / ordered[edge - 1 : len(ordered) - edge]
    place = edge + int(np.argmax(gaps))
    low, high = ordered[:place], ordered[place:]
    if gaps.max() < APART or np.median(high) < 2 * APART * np.median(low):
        return None
    return low[0], low[-1], high[0], high[-1]


def _look_at_patients(schema: Schema, cells: dict[str, np.ndarray], findings: Findings) -> None:
    if not schema.patient:
        findings.warn(
            "no column is of kind patient; every row counts as a patient of its own. If patients "
            "come repeatedly, the test would hold some that the model was trained on."
        )
        return
    counts = pd.Series(cells[schema.patient]).loc[lambda values: values != ""].value_counts()
    if len(counts) == 1:
        findings.warn("there is one patient alone; training refuses that.")
    elif counts.max() > 1:
        findings.warn(
            f"patients come repeatedly: {len(counts)} of them in {counts.sum()} rows, "
            f"{counts.mean():.1f} each in the mean and up to {counts.max()}; all rows of a patient "
            "stay in one split."
        )


def _look_at_rows(
    schema: Schema, frame: pd.DataFrame, cells: dict[str, np.ndarray], findings: Findings
) -> None:
    used = [name for name in cells if schema.columns[name].kind != "ignored"]
    twice = int(pd.DataFrame({name: cells[name] for name in used}).duplicated().sum())
    if twice:
        findings.warn(f"{twice} rows are duplicates: another row holds the same in every column.")
    outcome = schema.columns[schema.outcome]
    values = cells[schema.outcome]
    events = int(min((values == outcome.yes).sum(), (values == outcome.no).sum()))
    seen = len(schema.of(*SEEN))
    if events < EVENTS_PER_COLUMN * seen:
        findings.warn(
            f"few events: {events} rows with the rarer outcome for {seen} columns, less than "
            f"{EVENTS_PER_COLUMN} a column; a model with fewer columns may tell more."
        )
    _look_at_unusable(schema, frame, findings)
    for name, value in find_giveaways(_without_ranges(schema).parse(frame), schema).items():
        findings.warn(
            f"column {name!r} alone tells the outcome nearly always (AUROC {value:.3f}); if it is "
            "not known yet when a risk is asked for, its kind is ignored."
        )


def _look_at_unusable(schema: Schema, frame: pd.DataFrame, findings: Findings) -> None:
    """Say which rows training leaves out, and why."""
    try:
        problems = schema.parse(frame).problems
    except DataProblem:
        return  # values outside a range, which is said of their column
    first = {reason: row for row, reason in reversed(problems)}
    for reason, count in Counter(reason for _, reason in problems).items():
        findings.warn(f"{count} rows are left out: {reason}, the first is {first[reason]}.")


def _without_ranges(schema: Schema) -> Schema:
    """For what is to be seen whatever its unit."""
    free = {"least": None, "most": None}
    columns = {name: column.model_copy(update=free) for name, column in schema.columns.items()}
    return schema.model_copy(update={"columns": columns})
