"""Read tables from files and databases, chunk by chunk."""

import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import DataConfig
from ..engine.data_path import require_path
from ..engine.errors import DataProblem, UsageProblem

CHUNK_ROWS = 200_000
# Values that are no column names: 1.5, -3, 2024-01-31. Whole numbers may be names: 0, 1, 2, …
VALUE_PATTERN = r"-\d+|[-+]?\d*[.,]\d+|\d{4}-\d{2}-\d{2}.*"


def read_file(data: DataConfig) -> Iterator[pd.DataFrame]:
    """Read the file ``data.path`` of the source csv or parquet, chunk by chunk.

    Raises:
        UsageProblem: ``data.path`` is empty, or its suffix is not that of the source.
        DataProblem: there is no such file, or it is not a table.
    """
    path = require_path(data, Path.is_file, "file")
    if path.suffix != f".{data.source}" and not (data.source == "csv" and path.suffix == ".tsv"):
        raise UsageProblem(f"data.path: {data.path!r} must end with .{data.source}.")
    return read_chunks(path)


def read_database(data: DataConfig) -> Iterator[pd.DataFrame]:
    """Run ``data.query`` on the database at ``data.path`` and read the result, chunk by chunk.

    Raises:
        UsageProblem: one of them is empty, or the address or its driver is unknown.
        DataProblem: the database refuses the connection or the query.
    """
    if not data.path or not data.query:
        raise UsageProblem(
            "data.source: sql needs data.path (such as postgresql+psycopg://host/db) and "
            "data.query."
        )
    return _read_query(data.path, data.query)


def concat_chunks(chunks: Iterable[pd.DataFrame], empty_message: str) -> pd.DataFrame:
    """Join chunks into one table.

    Args:
        empty_message: the error message if there are no rows.

    Raises:
        DataProblem: there are no rows.
    """
    chunks = [chunk for chunk in chunks if len(chunk)]
    if not chunks:
        raise DataProblem(empty_message)
    return pd.concat(chunks, ignore_index=True)


def read_chunks(path: Path) -> Iterator[pd.DataFrame]:
    """Read a csv, tsv or parquet file, chunk by chunk; all fields of a text file are strings.

    Raises:
        DataProblem: the file is damaged, empty or of another format.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            try:
                with pyarrow.parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                        # Keep the index as a column, and integer ids whole where some are missing.
                        yield batch.to_pandas(ignore_metadata=True, integer_object_nulls=True)
            except pyarrow.ArrowException as error:
                raise DataProblem(f"{path}: not a parquet file: {error}") from None
            return
        options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "chunksize": CHUNK_ROWS}
        options["index_col"] = False  # else a field without a name would shift the others
        with pd.read_csv(path, encoding="utf-8-sig", sep=_separator(path), **options) as chunks:
            for chunk in _refuse_dropped_fields(chunks):
                _check_header(path, chunk.columns)
                yield chunk.rename(columns=str.strip)
    except UnicodeDecodeError as error:
        raise DataProblem(f"{path}: not UTF-8: {error.reason}.") from None
    except pd.errors.EmptyDataError:
        raise DataProblem(f"{path}: the file has no rows.") from None
    except pd.errors.ParserWarning:
        raise DataProblem(
            f"{path}: some rows have more fields than the header has names; does a column of row "
            "numbers come first?"
        ) from None
    except pd.errors.ParserError as error:
        raise DataProblem(f"{path}: {str(error).splitlines()[0]}") from None


def _refuse_dropped_fields(chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the chunks of a csv file; turn pandas' warning that it drops fields into an error."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _check_header(path: Path, names: Iterable[str]) -> None:
    """Refuse a file whose first line holds values: later messages would show them as names."""
    texts = [name.strip() for name in names]
    integers = [int(text) for text in texts if re.fullmatch(r"\d{1,9}", text)]
    steps = {b - a for a, b in pairwise(integers)}
    enumerates = not steps or (len(steps) == 1 and min(steps) > 0)  # such as 0, 1, 2 or 5, 10, 15
    if not enumerates or any(re.fullmatch(VALUE_PATTERN, text) for text in texts):
        raise DataProblem(
            f"{path}: the first line holds values; it must hold the names of the columns."
        )


def _read_query(uri: str, query: str) -> Iterator[pd.DataFrame]:
    """Stream the result of a query, chunk by chunk."""
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UsageProblem(f"data.path: cannot open the database: {_reason(error)}") from None
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            # Nullable types keep integer ids whole where some are missing.
            yield from pd.read_sql(
                sqlalchemy.text(query),
                connection,
                chunksize=CHUNK_ROWS,
                dtype_backend="numpy_nullable",
            )
    except (SQLAlchemyError, pd.errors.DatabaseError) as error:
        reason = _reason(error.__cause__ or error)  # pandas' own message quotes the query
        raise DataProblem(f"data.query: the database refuses it: {reason}") from None
    finally:
        engine.dispose()


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return max(",\t;", key=header.count)


def _reason(error: BaseException) -> str:
    from ..engine.config_loader import without_password

    return without_password(str(error).splitlines()[0])
