"""Rows with a text and a label, streamed from files of any size."""

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..config import DataConfig
from ..engine.errors import DataProblem, UsageProblem
from .splits import parse_split

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LONGEST_FIELD = 2**30  # characters; the default limit of Python's csv is 131,072
MAX_LINES = 1_000  # of a row of a csv file
MIN_SWALLOWED = 3  # lines inside a row that look like rows, to suspect an open quotation mark


class Row(NamedTuple):
    """An example as a source yields it; ``problem`` is the reason why it cannot be used."""

    id: str
    text: str
    label: str
    split: str = ""
    group: str = ""
    problem: str = ""


def read_table(path: Path, data: DataConfig) -> Iterator[Row]:
    """Yield the rows of a csv, tsv, jsonl or parquet file, in its order.

    Args:
        path: the file.
        data: names of the columns, and the file's format.

    Raises:
        DataProblem: the file is not of its kind, a column is missing, or a cell of
            ``data.split_column`` names no split.
    """
    wanted = [data.text_column, data.label_column]
    wanted += [name for name in (data.id_column, data.group_column, data.split_column) if name]
    for number, record in read_records(path, data.encoding, data.delimiter):
        if isinstance(record, str):
            yield Row(str(number), "", "", problem=record)
            continue
        _require(wanted, record, path)
        yield Row(
            id=as_text(record[data.id_column]) if data.id_column else str(number),
            text=as_text(record[data.text_column]),
            label=as_label(record[data.label_column], data.label_separator),
            split=_split_of(record, data.split_column, f"{path}, row {number}"),
            group=as_text(record[data.group_column]) if data.group_column else "",
        )


def _split_of(record: dict[str, Any], column: str | None, place: str) -> str:
    return parse_split(as_text(record[column]), column, place) if column else ""


def read_texts(path: Path, data: DataConfig) -> Iterator[tuple[str, str]]:
    """Yield ``(id, text)`` of each row of a table, or of each line of any other file.

    Args:
        path: the file; its suffix decides whether it is a table.
        data: name of the column of texts, and the file's format.

    Raises:
        DataProblem: a row cannot be read, or the column is missing.
    """
    if path.suffix not in SUFFIXES:
        for number, line in enumerate(_lines(path, data.encoding), start=1):
            yield str(number), line.rstrip("\r\n")
        return
    column = data.text_column
    for number, record in read_records(path, data.encoding, data.delimiter):
        if isinstance(record, str):
            raise DataProblem(f"{path}, row {number}: {record}.")
        _require([column], record, path)
        yield str(number), as_text(record[column])


def find_texts(folder: Path) -> list[Path]:
    """Find all text files below a folder, sorted by path."""
    return sorted(folder.rglob("*.txt"))


def read_file(path: Path, encoding: str) -> tuple[str, str]:
    """Read a whole file.

    Args:
        encoding: by its name in Python.

    Returns:
        The text and '', or '' and the reason why it cannot be read.

    Raises:
        UsageProblem: the encoding is unknown.
    """
    try:
        return path.read_text(encoding=_codec(encoding)), ""
    except UnicodeDecodeError:
        return "", f"not {encoding}"
    except OSError as error:
        return "", str(error.strerror)


def read_records(
    path: Path, encoding: str, delimiter: str
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield each row's number and its fields, or the reason why it cannot be read.

    Args:
        path: a table with one of ``SUFFIXES``; a header is row 1.
        encoding: of a text file.
        delimiter: of a csv file.
    """
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), start=1)
    elif path.suffix == ".jsonl":
        for number, line in enumerate(_lines(path, encoding), start=1):
            if line.strip():
                yield number, _check_encoding(_json(line), encoding)
    else:
        for number, record in enumerate(_read_delimited(path, encoding, delimiter), start=2):
            complete = None not in record and None not in record.values()
            yield (
                number,
                _check_encoding(record, encoding) if complete else "another number of fields",
            )


def _read_delimited(path: Path, encoding: str, delimiter: str) -> Iterator[dict[str, Any]]:
    """Yield the fields of each row of a csv or tsv file; tsv has no quotation marks.

    pandas cannot do that: it would silently read on from an open quotation mark and lose rows.

    Raises:
        DataProblem: a row of a csv file spans lines that look like rows, or very many lines.
    """
    csv.field_size_limit(LONGEST_FIELD)
    lines = _LineRecorder(_lines(path, encoding))
    if path.suffix == ".tsv":
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(lines, delimiter=delimiter)
    try:
        width = len(reader.fieldnames or ())
        first = reader.line_num + 1
        lines.recent.clear()
        for record in reader:
            if _swallows_rows(lines.recent, width, delimiter):
                raise DataProblem(
                    f"{path}, line {first}: a row runs over {len(lines.recent)} lines; is a "
                    "quotation mark not closed? Within quotation marks it is doubled."
                )
            first = reader.line_num + 1
            lines.recent.clear()
            yield record
    except csv.Error as error:
        raise DataProblem(f"{path}, line {reader.line_num}: {error}") from None


class _LineRecorder:
    """Lines, with those read since ``recent`` was last cleared."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.recent = lines, list[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.recent.append(next(self._lines))
        if len(self.recent) > MAX_LINES:
            raise csv.Error(f"a row of over {MAX_LINES} lines; is a quotation mark not closed?")
        return self.recent[-1]


def _swallows_rows(lines: list[str], width: int, delimiter: str) -> bool:
    """Return whether all inner lines of a row have as many fields as the header.

    With a single column, any line has.
    """
    inner = lines[1:-1]
    if width < 2 or len(inner) < MIN_SWALLOWED:
        return False
    return all(len(fields) == width for fields in csv.reader(inner, delimiter=delimiter))


def _require(columns: Iterable[str], record: dict[str, Any], path: Path) -> None:
    for name in columns:
        if name not in record:
            found = ", ".join(map(str, record))
            raise DataProblem(f"{path}: there is no column {name!r}; found: {found}.")


def _lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield lines with their ends; undecodable bytes become lone surrogates."""
    try:
        with path.open(encoding=_codec(encoding), errors="surrogateescape", newline="") as file:
            yield from file
    except UnicodeError as error:  # such as UTF-16 without a byte order mark
        raise DataProblem(f"{path}: not {encoding}: {error}.") from None


def _codec(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise UsageProblem(
            f"data.encoding: {encoding!r} is unknown; Python knows utf-8, gb18030, cp1252, …"
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def _json(line: str) -> dict[str, Any] | str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg}"
    return record if isinstance(record, dict) else "no JSON object"


def _check_encoding(record: dict[str, Any] | str, encoding: str) -> dict[str, Any] | str:
    if isinstance(record, dict) and any(_is_broken(value) for value in record.values()):
        return f"not {encoding}"
    return record


def _is_broken(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DataProblem(f"{path}: not a parquet file: {error}") from None


def as_label(value: Any, separator: str | None) -> str:
    """Convert a label to text; several labels are joined with the separator.

    Args:
        value: a label or, from jsonl and parquet, a list of labels.
        separator: ``data.label_separator``.

    Raises:
        DataProblem: there are several labels but no separator, or a label contains it.
    """
    if not isinstance(value, (list, tuple)):
        return as_text(value).strip()
    names = [as_text(name).strip() for name in value]
    if separator is None:
        raise DataProblem(
            f"data.label_column: a row has a list of labels, {names!r}; set data.label_separator, "
            "such as ';', to learn several labels of a text."
        )
    for name in names:
        if separator in name:
            raise DataProblem(
                f"data.label_separator: {separator!r} occurs in the label {name!r}; use another."
            )
    return separator.join(names)


def as_text(value: Any) -> str:
    """Convert a field's value to text, and a missing one to ''."""
    return "" if value is None or value != value else str(value)
