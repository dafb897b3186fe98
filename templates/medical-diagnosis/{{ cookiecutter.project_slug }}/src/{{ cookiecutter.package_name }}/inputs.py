"""What ``predict`` reads, and what a request to a served model looks like: rows of the schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .data import Visits, visits
from .datasets.frames import read_chunks
from .datasets.schema import Column, Records, Schema
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits
from .preprocessing import Preprocessing

SUFFIXES = (".csv", ".tsv", ".parquet")
ROWS = 4_096  # that are predicted at a time


def read(path: Path, preprocessing: Preprocessing) -> Iterator[Visits]:
    """Yield the rows of a file that are to be predicted, some thousand at a time.

    Raises:
        DataProblem: it cannot be read, has no rows, or one breaks the schema.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(f"input: {str(path)!r} is no file that ends with {', '.join(SUFFIXES)}.")
    schema, before = preprocessing.schema, 0
    for frame in read_chunks(path):
        for start in range(0, len(frame), ROWS):
            few = frame.iloc[start : start + ROWS]
            yield visits(_parse_rows(few, schema, f"{path}: ", before), schema)
            before += len(few)
    if before == 0:
        raise DataProblem(f"input: there are no rows in {str(path)!r}.")


def missing_columns(path: Path, preprocessing: Preprocessing) -> list[str]:
    """Read a whole file, and return the columns without any value which most training rows had.

    Raises:
        DataProblem: as ``read``.
    """
    schema, missing = preprocessing.schema, preprocessing.missing
    names = [*schema.numbers, *schema.categories]
    empty = np.ones(len(names), dtype=bool)
    for asked in read(path, preprocessing):
        numbers, categories = np.isnan(asked.numbers), asked.categories == ""
        empty &= np.concatenate([numbers.all(axis=0), categories.all(axis=0)])
    without = {name for name, none in zip(names, empty, strict=True) if none}
    return [name for name in schema.columns if name in without and missing.get(name, 0) < 0.5]


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Columns of a request and of its answer, as MLflow names them."""
    schema = preprocessing.schema
    asked = _columns(schema)
    return {
        "inputs": [
            {"name": name, "type": _type(column), "required": True}
            for name, column in asked.items()
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
    """A request about nobody: the middle of each range, the first of the values."""
    row = {}
    numbers = dict(zip(preprocessing.schema.numbers, preprocessing.centre, strict=True))
    for name, column in _columns(preprocessing.schema).items():
        if column.kind == "number":
            middle = numbers[name]
            row[name] = float(np.expm1(middle) if name in preprocessing.logarithmic else middle)
        elif column.kind == "category":
            row[name] = column.values[0]
        elif column.kind == "boolean":
            row[name] = column.no or column.yes
        else:
            row[name] = "2020-01-01"
    return pd.DataFrame([row])


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> dict[str, tf.Tensor]:
    """Rows of a request -> what the preprocessing takes.

    Raises:
        DataProblem: a row breaks the schema.
    """
    records = _parse_rows(frame, preprocessing.schema)
    return visits(records, preprocessing.schema).fetch(tf.range(len(records), dtype=tf.int64))


def _parse_rows(frame: pd.DataFrame, schema: Schema, origin: str = "", before: int = 0) -> Records:
    records = schema.parse(frame, asked=True, before=before)
    if records.problems:
        row, reason = records.problems[0]
        raise DataProblem(f"{origin}{row}: {reason}; nothing was predicted.")
    return records


def _columns(schema: Schema) -> dict[str, Column]:
    """What must be known of a patient."""
    kinds = ("number", "category", "boolean", "date", *(("time",) if schema.of("date") else ()))
    return {name: schema.columns[name] for name in schema.of(*kinds)}


def _type(column: Column) -> str:
    return "double" if column.kind == "number" else "string"
