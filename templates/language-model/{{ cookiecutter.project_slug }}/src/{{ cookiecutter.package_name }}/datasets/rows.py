"""Rows of jsonl and parquet files and of data sets, as texts, chats or pairs of answers."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import DataConfig
from ..engine.errors import DataProblem, UsageProblem
from . import preferences
from .corpus import Row
from .messages import check_messages, detect_format, read_messages
from .splits import parse_split
from .texts import codec

LONGEST = 100 * 2**20  # characters of a line of a jsonl file, which is read whole


def read_rows(path: Path, data: DataConfig) -> Iterator[Row]:
    """Yield the rows of a jsonl or parquet file, in its order.

    Args:
        path: the file.
        data: names of the columns, and the format.

    Raises:
        DataProblem: the file is not of its kind, a column is missing, or a cell of
            ``data.split_column`` names no split.
    """
    convert = None
    for number, record in read_records(path, data.encoding):
        place = f"{path}, row {number}"
        if isinstance(record, str):
            yield Row(f"row {number}", problem=record)
            continue
        if convert is None:
            convert = make_converter(record, data, str(path))
        yield _read(record, convert, data, place, f"row {number}")


def records_to_rows(
    records: Iterable[dict[str, Any]], data: DataConfig, name: str, split: str, columns: list[str]
) -> Iterator[Row]:
    """Yield the rows of a part of a data set.

    Args:
        records: fields of each row.
        data: names of the columns, and the format.
        name: of the part, for messages.
        split: train, validation, test or ''.
        columns: of the part.
    """
    convert = make_converter(dict.fromkeys(columns), data, name)
    for number, record in enumerate(records, start=1):
        row = _read(record, convert, data, f"{name}, row {number}", f"{name} {number}")
        yield row._replace(split=row.split or split)


def _read(
    record: dict[str, Any],
    convert: Callable[[dict[str, Any], str], Row],
    data: DataConfig,
    place: str,
    name: str,
) -> Row:
    for column in (data.id_column, data.group_column, data.split_column):
        if column and column not in record:
            raise DataProblem(f"{place}: there is no column {column!r}; found: {_names(record)}.")
    if data.id_column:
        name = as_text(record[data.id_column]) or name
    split = ""
    if data.split_column:
        split = parse_split(as_text(record[data.split_column]), data.split_column, place)
    group = as_text(record[data.group_column]) if data.group_column else ""
    try:
        row = convert(record, name)
    except DataProblem as error:
        row = Row(name, problem=str(error).rstrip("."))
    return row._replace(split=split, group=group)


def make_converter(
    record: Mapping[str, Any], data: DataConfig, place: str
) -> Callable[[dict[str, Any], str], Row]:
    """Return the function that makes a ``Row`` of a record and its name.

    Args:
        record: the first one; its columns decide where ``data.format`` is ``auto``.
        data: the format, and the column of texts.
        place: of the record, for messages.

    Raises:
        DataProblem: there is no column of texts, chats or answers.
    """
    kind: str = data.format
    if kind == "auto":
        kind = "text" if data.text_column in record else detect_format(record) or "text"
    if kind == "text":
        if data.text_column not in record:
            raise DataProblem(
                f"{place}: there is no column {data.text_column!r}, and none of chats (messages, "
                "conversations), instructions (instruction, output) or preferences (prompt, "
                f"chosen, rejected); found: {_names(record)}. data.text_column names another."
            )
        return lambda record, name: _text_row(record, name, data.text_column)
    if kind == "preference":
        return _pair_row
    return lambda record, name: _chat_row(record, name, kind)


def _text_row(record: dict[str, Any], name: str, column: str) -> Row:
    if column not in record:
        return Row(name, problem=f"there is no field {column!r}")
    value = record[column]
    if value is not None and not isinstance(value, str):
        return Row(name, problem=f"{column} is no text but {type(value).__name__}")
    return Row(name, (value or "").replace("\r\n", "\n"))


def _chat_row(record: dict[str, Any], name: str, kind: str) -> Row:
    messages = read_messages(record, kind)
    check_messages(messages, answered=True)
    tools = record.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except ValueError:
            return Row(name, problem="tools: no JSON")
    return Row(name, messages=messages, tools=tools or None)


def _pair_row(record: dict[str, Any], name: str) -> Row:
    prompt, chosen, rejected = preferences.read_pair(record)
    if chosen == rejected:
        return Row(name, problem="chosen and rejected are the same")
    return Row(name, messages=prompt, answers=(chosen, rejected))


# === Files ===


def read_records(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield each row's number and its fields, or the reason why it cannot be read.

    Args:
        path: a jsonl or parquet file.
        encoding: of a jsonl file.

    Raises:
        DataProblem: a parquet file is none.
    """
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), start=1)
        return
    for number, line in enumerate(_lines(path, encoding), start=1):
        if line is None:
            yield number, f"longer than {LONGEST // 2**20} MB; source text takes files of any size"
        elif line.strip():
            yield number, _check(_json(line), encoding)


def _lines(path: Path, encoding: str) -> Iterator[str | None]:
    """Yield lines; undecodable bytes become lone surrogates, and too long lines None."""
    try:
        with path.open(encoding=codec(encoding), errors="surrogateescape") as file:
            while line := file.readline(LONGEST):
                if len(line) < LONGEST or line.endswith("\n"):
                    yield line
                    continue
                while line and not line.endswith("\n"):
                    line = file.readline(LONGEST)
                yield None
    except UnicodeError as error:  # such as UTF-16 without a byte order mark
        raise DataProblem(f"{path}: not {encoding}: {error}.") from None


def _json(line: str) -> dict[str, Any] | str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {getattr(error, 'msg', error)}"
    return record if isinstance(record, dict) else "no JSON object"


def _check(record: dict[str, Any] | str, encoding: str) -> dict[str, Any] | str:
    if not isinstance(record, dict):
        return record
    text = json.dumps(record, ensure_ascii=False)
    bad = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
    if bad is None:
        # Written as an escape, so that it is not in the file itself.
        has_nul = "\\u0000" in text and _has_nul(record)
        return "a NUL; it is no text but binary" if has_nul else record
    escaped = "\udc80" <= bad <= "\udcff"
    return f"not {encoding}" if escaped else "a half of a surrogate pair, which is no character"


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nul, value.values()))
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DataProblem(f"{path}: not a parquet file: {error}") from None


def require_suffix(path: Path, source: str) -> None:
    """Check that a file ends with the name of its source.

    Raises:
        UsageProblem: it does not.
    """
    if path.suffix != f".{source}":
        raise UsageProblem(f"data.path: {str(path)!r} must end with .{source}.")


def as_text(value: Any) -> str:
    """Convert a field's value to text, and a missing one to ''."""
    return "" if value is None or value != value else str(value)


def _names(record: Iterable[str]) -> str:
    return ", ".join(map(str, record))
