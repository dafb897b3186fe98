"""Rows to predict, from files and from requests to a served model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .data import Visits, build_visits
from .datasets.frames import read_chunks
from .datasets.schema import Column, Records, Schema
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits
from .preprocessing import Preprocessing

SUFFIXES = (".csv", ".tsv", ".parquet")
BATCH_ROWS = 4_096  # rows that are predicted at a time
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
    """Return a synthetic request: mean numbers and first values, so that it reveals no patient.

    Args:
        data: part of the engine's interface.
        preprocessing: of the model, with its means and schema.
    """
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
    return pd.DataFrame([row])


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> dict[str, tf.Tensor]:
    """Turn the rows of a request into raw inputs, see ``Visits``.

    Args:
        frame: one row for each patient.
        preprocessing: of the model, with its schema.

    Raises:
        DataProblem: a row breaks the schema.
    """
    records = _parse_rows(frame, preprocessing.schema)
    visits = build_visits(records, preprocessing.schema)
    return visits.fetch(tf.range(len(records), dtype=tf.int64))


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
