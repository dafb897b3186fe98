"""Tables from files and databases, part by part."""

import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import DataConfig
from ..engine.errors import DataProblem, UsageProblem

ROWS = 200_000  # read at a time
# What no column is called: 1.5, -3, 2024-01-31. Whole numbers may be names, if they count.
VALUE_FORM = r"-\d+|[-+]?\d*[.,]\d+|\d{4}-\d{2}-\d{2}.*"


def from_file(data: DataConfig) -> Iterator[pd.DataFrame]:
    """The table of the source csv or parquet, part by part.

    Raises:
        UsageProblem: ``data.path`` is empty, or names a file of another source.
        DataProblem: it is no file, or no table.
    """
    if not data.path:
        raise UsageProblem(f"data.path: source {data.source!r} needs a file.")
    path = Path(data.path)
    if not path.is_file():
        raise DataProblem(f"data.path: {data.path!r} is no file.")
    if path.suffix != f".{data.source}" and not (data.source == "csv" and path.suffix == ".tsv"):
        raise UsageProblem(f"data.path: {data.path!r} must end with .{data.source}.")
    return parts_of(path)


def from_database(data: DataConfig) -> Iterator[pd.DataFrame]:
    """What ``data.query`` gives, from the database at ``data.path``, part by part.

    Raises:
        UsageProblem: one of them is empty, or the address or its driver is unknown.
        DataProblem: the database refuses.
    """
    if not data.path or not data.query:
        raise UsageProblem(
            "data.source: sql needs data.path (such as postgresql+psycopg://host/db) and "
            "data.query."
        )
    return _parts_of_query(data.path, data.query)


def whole(parts: Iterable[pd.DataFrame], if_empty: str) -> pd.DataFrame:
    """A table that is read part by part.

    Raises:
        DataProblem: it has no rows; the message is ``if_empty``.
    """
    there = [part for part in parts if len(part)]
    if not there:
        raise DataProblem(if_empty)
    return pd.concat(there, ignore_index=True)


def parts_of(path: Path) -> Iterator[pd.DataFrame]:
    """A csv or parquet file, part by part; all fields of a csv file are text.

    Raises:
        DataProblem: it is no such file.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            try:
                with pyarrow.parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(batch_size=ROWS):
                        # An index is a column like others; ids stay whole where some are missing.
                        yield batch.to_pandas(ignore_metadata=True, integer_object_nulls=True)
            except pyarrow.ArrowException as error:
                raise DataProblem(f"{path}: not a parquet file: {error}") from None
            return
        options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "chunksize": ROWS}
        options["index_col"] = False  # a field without a name would shift the others
        with pd.read_csv(path, encoding="utf-8-sig", sep=_separator(path), **options) as parts:
            for part in _without_loss(parts):
                _check_header(path, part.columns)
                yield part.rename(columns=str.strip)
    except UnicodeDecodeError as error:
        raise DataProblem(f"{path}: not UTF-8: {error.reason}.") from None
    except pd.errors.EmptyDataError:
        raise DataProblem(f"{path}: there are no rows.") from None
    except pd.errors.ParserWarning:
        raise DataProblem(
            f"{path}: rows have more fields than its first line has names; are row numbers without "
            "a name in front?"
        ) from None
    except pd.errors.ParserError as error:
        raise DataProblem(f"{path}: {str(error).splitlines()[0]}") from None


def _without_loss(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Parts of a csv file; that fields are dropped is an error."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            part = next(parts, None)
        if part is None:
            return
        yield part


def _check_header(path: Path, names: Iterable[str]) -> None:
    """The names of columns are not the cells of a first row, which messages must not show."""
    texts = [name.strip() for name in names]
    whole_numbers = [int(text) for text in texts if re.fullmatch(r"\d{1,9}", text)]
    steps = {b - a for a, b in pairwise(whole_numbers)}
    counts = not steps or (len(steps) == 1 and min(steps) > 0)
    if not counts or any(re.fullmatch(VALUE_FORM, text) for text in texts):
        raise DataProblem(
            f"{path}: its first line holds values; the names of the columns must stand there."
        )


def _parts_of_query(uri: str, query: str) -> Iterator[pd.DataFrame]:
    """What a query gives, part by part, as the database streams it."""
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UsageProblem(f"data.path: no database can be opened: {_reason(error)}") from None
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            # Nullable types: ids stay whole numbers where some are missing.
            yield from pd.read_sql(
                sqlalchemy.text(query),
                connection,
                chunksize=ROWS,
                dtype_backend="numpy_nullable",
            )
    except (SQLAlchemyError, pd.errors.DatabaseError) as error:
        reason = _reason(error.__cause__ or error)  # pandas puts the query before it
        raise DataProblem(f"data.query: the database refuses: {reason}") from None
    finally:
        engine.dispose()


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return max(",\t;", key=header.count)


def _reason(error: Exception) -> str:
    from ..engine.config_loader import without_password

    return without_password(str(error).splitlines()[0])
