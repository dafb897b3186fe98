"""What of patients is watched once the model is in use, in requests as in the training data.

The engine keeps counts of these columns only, and merges small ones.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from ..config import Config
from ..data import Visits, build_visits
from ..datasets.frames import read_chunks
from ..engine.errors import DataProblem
from ..engine.interfaces import Requests, Split
from ..inputs import SUFFIXES
from ..preprocessing import Preprocessing


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return the inputs of the model as columns (size,), dates as days.

    Args:
        split: the ``Visits``.
        preprocessing: part of the engine's interface.
    """
    visits = cast("Visits", split)
    schema = visits.schema
    numbers = dict(zip(schema.numbers, visits.numbers.T.astype("float64"), strict=True))
    return numbers | dict(zip(schema.categories, visits.categories.T, strict=True))


def read_file(path: Path, preprocessing: Preprocessing, config: Config) -> Iterator[Requests]:
    """Yield the rows of a file, in parts; those that break the schema are problems.

    Args:
        path: a csv, tsv or parquet file. A column that it lacks counts as missing in each row.
        preprocessing: of the model, with its schema.
        config: part of the engine's interface.

    Raises:
        DataProblem: the file cannot be read, or has no rows.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataProblem(f"FILE: {str(path)!r} is not a {', '.join(SUFFIXES)} file.")
    schema, offset = preprocessing.schema, 0
    for frame in read_chunks(path):
        lacking = [n for n in (*schema.numbers, *schema.categories) if n not in frame.columns]
        frame = frame.assign(**dict.fromkeys(lacking, None))
        records = schema.parse(frame, for_prediction=True, row_offset=offset)
        problems = {place: reason for place, (_, reason) in enumerate(records.problems)}
        yield Requests(build_visits(records, schema), problems)
        offset += len(frame)
    if offset == 0:
        raise DataProblem(f"FILE: there are no rows in {str(path)!r}.")


def parse_labels(texts: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Convert outcomes (size,) to 1 for yes and 0 for no.

    Args:
        texts: as the schema writes them.
        preprocessing: of the model, with its schema.

    Raises:
        DataProblem: one is neither.
    """
    column = preprocessing.schema.columns[preprocessing.schema.outcome]
    is_yes, is_no = texts == column.yes, texts == column.no
    if wrong := int((~(is_yes | is_no)).sum()):
        allowed = " or ".join(repr(value) for value in (column.yes, column.no) if value)
        raise DataProblem(
            f"--labels: the outcomes of {wrong} of {len(texts)} rows are not {allowed}."
        )
    return is_yes.astype("float32")
