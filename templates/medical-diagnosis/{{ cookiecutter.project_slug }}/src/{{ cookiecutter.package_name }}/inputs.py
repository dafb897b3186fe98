"""Rows to predict, from files and from requests to a served model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .config import Config
from .data import Visits, build_visits
from .datasets.frames import read_chunks
from .datasets.schema import Column, Records, Schema
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Requests
from .engine.requests import check_fields
from .objective import NOTICE
from .preprocessing import Preprocessing

SUFFIXES = (".csv", ".tsv", ".parquet")
BATCH_ROWS = 4_096  # rows that are predicted at a time
MAX_CHARACTERS = 200  # of a cell of a request; values and dates are shorter
MAX_NUMBER = 1e30  # of a cell of a request: the model computes in 32 bits
MAX_MISSING_RATE = 0.5  # in training, up to which a column without any value is worth a warning


def read_rows(path: Path, preprocessing: Preprocessing) -> Iterator[Visits]:
    """Read the rows of a file to predict, ``BATCH_ROWS`` at a time.

    Args:
        path: a csv, tsv or parquet file.
        preprocessing: of the model, with its schema.

    Raises:
        DataProblem: the file cannot be read, has no rows, or a row breaks the schema.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(f"input: {str(path)!r} is not a {', '.join(SUFFIXES)} file.")
    schema, row_offset = preprocessing.schema, 0
    for chunk in read_chunks(path):
        for start in range(0, len(chunk), BATCH_ROWS):
            frame = chunk.iloc[start : start + BATCH_ROWS]
            yield build_visits(_parse_rows(frame, schema, f"{path}: ", row_offset), schema)
            row_offset += len(frame)
    if row_offset == 0:
        raise DataProblem(f"input: there are no rows in {str(path)!r}.")


def find_missing_columns(path: Path, preprocessing: Preprocessing) -> list[str]:
    """Read a whole file and return the columns that are empty there, though rarely in training.

    Args:
        path: a csv, tsv or parquet file.
        preprocessing: of the model, with its schema.

    Raises:
        DataProblem: see ``read_rows``.
    """
    schema, missing_rate = preprocessing.schema, preprocessing.missing_rate
    names = [*schema.numbers, *schema.categories]
    is_empty = np.ones(len(names), dtype=bool)
    for rows in read_rows(path, preprocessing):
        numbers, categories = np.isnan(rows.numbers), rows.categories == ""
        is_empty &= np.concatenate([numbers.all(axis=0), categories.all(axis=0)])
    empty = {name for name, value in zip(names, is_empty, strict=True) if value}
    rates = {name: missing_rate.get(name, 0.0) for name in schema.columns if name in empty}
    return [name for name, rate in rates.items() if rate < MAX_MISSING_RATE]


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the columns of a request and of its answer, as MLflow names them."""
    columns = _input_columns(preprocessing.schema)
    return {
        "inputs": [
            {"name": name, "type": _mlflow_type(column), "required": True}
            for name, column in columns.items()
        ],
        "outputs": [
            {"name": "prediction", "type": "string", "required": True},
            {"name": "risk", "type": "double", "required": True},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
            {"name": "operating_point", "type": "double", "required": True},
            {"name": "model", "type": "string", "required": True},
            {"name": "schema", "type": "string", "required": True},
            {"name": "notice", "type": "string", "required": True},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """Return a synthetic request, see ``_average_row``.

    Args:
        data: part of the engine's interface.
        preprocessing: of the model.
    """
    return pd.DataFrame([_average_row(preprocessing)])


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row: its columns, where null is a missing value."""
    columns = _input_columns(preprocessing.schema)
    return {
        "type": "object",
        "title": "Patient",
        "description": NOTICE,
        "properties": {name: _describe_column(name, column) for name, column in columns.items()},
        "required": list(columns),
        "additionalProperties": False,
        "examples": [_average_row(preprocessing)],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Parse rows, all at once; one that breaks the schema is a problem, which shows no value.

    Args:
        rows: each with all columns, None where a value is missing.
        preprocessing: of the model, with its schema.
        config: part of the engine's interface.
    """
    schema = preprocessing.schema
    columns = _input_columns(schema)
    problems: dict[int, str] = {}
    for position, row in enumerate(rows):
        try:
            check_fields(row, columns)
            _check_cells(row, columns)
        except DataProblem as error:
            problems[position] = str(error)
    at = np.array([i for i in range(len(rows)) if i not in problems], "int64")
    cells = {
        name: np.array([_as_text(rows[i][name]) for i in at], dtype=object) for name in columns
    }
    records = schema.parse_texts(cells, for_prediction=True, suspect_units=False)
    for number, (name, reason) in records.breaches.items():
        problems[int(at[number - 1])] = f"{name}: it {reason}." if name else f"{reason}."
    visits = build_visits(replace(records, rows=at[records.rows - 1] + 1), schema)
    return Requests(visits, problems)


def _check_cells(row: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
    """Check that a row has a value of a table, or None, for each column.

    Raises:
        DataProblem: one is missing or not such a value.
    """
    for name in columns:
        if name not in row:
            raise DataProblem(f"{name}: it is missing; null says that it was not measured.")
        value = row[name]
        is_number = isinstance(value, int | float) and abs(value) <= MAX_NUMBER  # not NaN either
        if not (value is None or is_number or isinstance(value, str)):
            raise DataProblem(f"{name}: it must be a number, a text or null.")
        if isinstance(value, str) and len(value) > MAX_CHARACTERS:
            raise DataProblem(f"{name}: more than the {MAX_CHARACTERS} characters allowed.")


def _as_text(value: float | str | None) -> str:
    """Return a cell as text, without halves of characters, which pandas cannot hold."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def _average_row(preprocessing: Preprocessing) -> dict[str, float | str]:
    """Return a row of mean numbers and first values, so that it reveals no patient."""
    row: dict[str, float | str] = {}
    means = dict(zip(preprocessing.schema.numbers, preprocessing.mean, strict=True))
    for name, column in _input_columns(preprocessing.schema).items():
        if column.kind == "number":
            mean = means[name]
            row[name] = float(np.expm1(mean) if name in preprocessing.log_columns else mean)
        elif column.kind == "category":
            row[name] = column.values[0]
        elif column.kind == "boolean":
            row[name] = column.no or column.yes
        else:
            row[name] = "2020-01-01"
    return row


def _describe_column(name: str, column: Column) -> dict[str, Any]:
    """Return the JSON Schema of a cell."""
    title = {"title": name.replace("_", " ")}
    if column.kind == "number":
        limits = {"minimum": column.min, "maximum": column.max, "x-unit": column.unit or None}
        known = {key: value for key, value in limits.items() if value is not None}
        return {"type": ["number", "null"], **title, **known}
    if column.kind == "time":
        return {"type": "string", "format": "date", **title}
    if column.kind == "date":
        return {"type": ["string", "null"], "format": "date", **title}
    values = column.values if column.kind == "category" else (column.yes, column.no)
    return {"type": ["string", "null"], "enum": [*values, None], **title}


def _parse_rows(
    frame: pd.DataFrame, schema: Schema, prefix: str = "", row_offset: int = 0
) -> Records:
    """Parse rows to predict; unlike in training, one that breaks the schema is an error."""
    records = schema.parse(frame, for_prediction=True, row_offset=row_offset)
    if records.problems:
        row, reason = records.problems[0]
        raise DataProblem(f"{prefix}{row}: {reason}; nothing was predicted.")
    return records


def _input_columns(schema: Schema) -> dict[str, Column]:
    """Return the columns that a row to predict must have."""
    names = schema.names_of("number", "category", "boolean", "date")
    if schema.names_of("date"):
        names = schema.names_of("number", "category", "boolean", "date", "time")
    return {name: schema.columns[name] for name in names}


def _mlflow_type(column: Column) -> str:
    return "double" if column.kind == "number" else "string"
