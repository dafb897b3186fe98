"""Inspection of a table or a folder of texts: its fields for training, facts and warnings."""

import codecs
import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ..config import Config
from ..datasets.folders import find_class_folders
from ..datasets.labels import split_labels
from ..datasets.languages import languages
from ..datasets.rows import SUFFIXES, as_text, find_texts, read_file, read_records
from ..datasets.splits import is_split_column
from ..datasets.texts import content_key
from ..engine.errors import DataProblem
from ..engine.findings import Findings
from ..engine.inspection.columns import find_giveaways, find_named, format_counts
from .classes import (
    describe_classes,
    describe_splits,
    find_label_column,
    find_split_column,
    set_max_unreadable,
)

MAX_INSPECTED = 20_000  # rows; all are counted
SAMPLE_BYTES = 2**20  # of a file, to detect encoding and delimiter
TEXT_NAMES = ("text", "body", "message", "content", "review", "comment", "sentence", "title")
MAX_CLASSES = 500
SEPARATORS = ("|", ";", ",")  # of several labels in a row
LIST_SEPARATOR = SEPARATORS[0]  # joins labels that come as a list
NO_LABEL = "(none)"  # shown for a text with none of several possible labels


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Inspect a table (csv, tsv, jsonl, parquet) or a folder with a subfolder for each class.

    Args:
        path: the file or folder.
        config: the configuration, with fields that the user set.
        given: names of the ``data`` fields that the user set; the others are guessed.

    Raises:
        DataProblem: the path is neither, or no text or label is found.
    """
    findings = Findings()
    if path.is_dir():
        texts, labels, ids = _from_folder(path, config, findings)
    elif path.suffix in SUFFIXES:
        texts, labels, ids = _from_table(path, config, given, findings)
    else:
        raise DataProblem(
            f"PATH: {str(path)!r} is neither a folder nor one of {', '.join(SUFFIXES)}."
        )
    _describe_texts(texts, labels, ids, findings.fields.get("label_separator", ""), findings)
    return findings


def _from_folder(
    path: Path, config: Config, findings: Findings
) -> tuple[list[str], list[str], list[str]]:
    found = find_class_folders(path, find_texts)
    if not found.files:
        raise DataProblem(f"PATH: {str(path)!r} has no .txt files in folders named after classes.")
    sample = b"\n".join(file.path.read_bytes()[:4096] for file in found.files[:200])
    encoding = config.data.encoding if config.data.encoding != "utf-8" else _detect_encoding(sample)
    read = [read_file(file.path, encoding) for file in found.files]
    findings.fields |= {"source": "folder", "path": str(path), "encoding": encoding}
    findings.add_fact("folder", f"{len(read)} .txt files, {encoding}")
    if found.has_splits:
        findings.add_fact("splits", format_counts(Counter(file.split for file in found.files)))
    for label in found.empty_classes():
        findings.warn(f"class {label!r} has no texts; training refuses that.")
    return (
        [text for text, _ in read],
        [file.label for file in found.files],
        [file.name for file in found.files],
    )


def _from_table(
    path: Path, config: Config, given: set[str], findings: Findings
) -> tuple[list[str], list[str], list[str]]:
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    binary = path.suffix == ".parquet"
    encoding = config.data.encoding if binary or "encoding" in given else _detect_encoding(sample)
    delimiter = config.data.delimiter
    if path.suffix == ".csv" and "delimiter" not in given:
        delimiter = _detect_delimiter(sample.decode(encoding, "replace"))
    table: dict[str, list[str]] = {}
    ids: list[str] = []
    rows = 0
    broken: Counter[str] = Counter()
    for number, record in read_records(path, encoding, delimiter):
        rows += 1
        if isinstance(record, str):
            broken[record] += 1
        elif len(ids) < MAX_INSPECTED:
            for name, value in record.items():
                is_list = isinstance(value, (list, tuple))
                cell = LIST_SEPARATOR.join(map(as_text, value)) if is_list else as_text(value)
                table.setdefault(name, [""] * len(ids)).append(cell)
            ids.append(str(number))
            for values in table.values():
                values.extend([""] * (len(ids) - len(values)))
    if not ids:
        raise DataProblem(f"PATH: {str(path)!r} has no readable rows.")
    text = _check_column(config.data.text_column, "text_column", given, table)
    text = text or _find_text_column(table, findings)
    label = _check_column(config.data.label_column, "label_column", given, table)
    label = label or _find_label_column(table, text, findings)
    split = config.data.split_column
    if "split_column" not in given:
        rest = {name: table[name] for name in table if name not in (text, label)}
        split = find_split_column(rest, findings)
    elif split:
        _check_column(split, "split_column", given, table)
    separator = config.data.label_separator
    if "label_separator" not in given:
        separator = _detect_separator(table[label])
    kind = path.suffix.removeprefix(".")
    findings.add_fact("file", f"{rows} rows, {kind}" + ("" if binary else f", {encoding}"))
    for name, values in table.items():
        findings.add_fact(f"column {name}", _describe_column(values, name, text, label, split))
    if rows > len(ids) + sum(broken.values()):
        findings.add_fact("inspected", f"the first {len(ids)} rows")
    for problem, count in broken.items():
        findings.warn(f"{count} rows cannot be read: {problem}.")
    if split:
        describe_splits(table[split], findings)
    for name in find_giveaways({n: table[n] for n in table if n != split}, label, text):
        findings.warn(
            f"column {name!r} tells the label nearly always; it is not used. Make sure that the "
            "text does not contain the same."
        )
    findings.fields |= {"source": kind, "path": str(path)}
    findings.fields |= {"text_column": text, "label_column": label}
    findings.fields |= {"label_separator": separator} if separator else {}
    findings.fields |= {"split_column": split} if split else {}
    findings.fields |= {} if binary else {"encoding": encoding}
    findings.fields |= {"delimiter": delimiter} if kind == "csv" else {}
    labels = [value.strip() or (NO_LABEL if separator else "") for value in table[label]]
    unusable = sum(broken.values()) + sum(
        not (words.strip() and label) for words, label in zip(table[text], labels, strict=True)
    )
    set_max_unreadable(unusable, len(labels) + sum(broken.values()), "rows", findings)
    return table[text], labels, ids


def _describe_texts(
    texts: list[str], labels: list[str], ids: list[str], separator: str, findings: Findings
) -> None:
    usable = [
        (text, label)
        for text, label in zip(texts, labels, strict=True)
        if text.strip() and label.strip()
    ]
    if not usable:
        raise DataProblem("PATH: there is no row with a text and a label.")
    lengths = np.array([len(text) for text, _ in usable])
    middle, most, longest = (int(np.quantile(lengths, q)) for q in (0.5, 0.95, 1.0))
    findings.add_fact(
        "lengths", f"median {middle} characters, 95 % up to {most}, longest {longest}"
    )
    findings.add_fact("languages", languages([text for text, _ in usable]))
    classes = Counter(name for _, label in usable for name in split_labels(label, separator))
    classes.pop(NO_LABEL, None)
    describe_classes(classes, "texts", findings)
    if separator:
        most = max(len(split_labels(label, separator)) for _, label in usable)
        findings.add_fact("labels", f"up to {most} of a text, separated by {separator!r}")
    by_key: dict[str, set[str]] = {}
    for text, label in usable:
        by_key.setdefault(content_key(text), set()).add(label)
    contradicting = sum(len(found) > 1 for found in by_key.values())
    findings.add_fact(
        "duplicates", f"{len(usable) - len(by_key)}, ignoring case, spaces and punctuation"
    )
    if contradicting:
        findings.warn(f"{contradicting} texts occur with different labels.")
    empty = [name for name, text in zip(ids, texts, strict=True) if not text.strip()]
    if empty:
        findings.warn(f"{len(empty)} texts are empty, the first in {empty[0]}; they are left out.")
    unlabelled = [name for name, label in zip(ids, labels, strict=True) if not label.strip()]
    if unlabelled:
        findings.warn(
            f"{len(unlabelled)} labels are missing, the first in {unlabelled[0]}; those rows are "
            "left out."
        )


def _detect_encoding(sample: bytes) -> str:
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # Incremental, since the sample may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return best.encoding if best else "utf-8"


def _detect_delimiter(sample: str) -> str:
    lines = sample.splitlines()
    counts = {mark: len(next(csv.reader(lines[:1], delimiter=mark), [])) for mark in ",;|\t"}
    return max(counts, key=counts.__getitem__)


def _check_column(name: str, field: str, given: set[str], table: dict[str, list[str]]) -> str:
    """Return the column that the user named, checked, or '' if they named none."""
    if field not in given:
        return ""
    if name not in table:
        found = ", ".join(table)
        raise DataProblem(f"data.{field}: there is no column {name!r}; found: {found}.")
    return name


def _find_text_column(table: dict[str, list[str]], findings: Findings) -> str:
    lengths = {name: np.mean([len(value) for value in table[name]]) for name in table}
    longest = max(lengths, key=lengths.__getitem__)
    candidates = [name for name in find_named(list(table), *TEXT_NAMES) if lengths[name] > 0]
    # A title is a text too, but the body says more.
    if candidates:
        return max(candidates, key=lengths.__getitem__)
    reason = "none is named as texts are and this has the longest values"
    others = [name for name in table if name != longest]
    findings.warn_of_guess("texts", "text_column", longest, reason, others)
    return longest


def _find_label_column(table: dict[str, list[str]], text: str, findings: Findings) -> str:
    rows = len(table[text])
    distinct = {
        name: len(
            {part for value in table[name] for part in split_labels(value.strip(), mark) if part}
        )
        for name in table
        for mark in [_detect_separator(table[name])]
    }
    most = max(2, min(MAX_CLASSES, rows // 3))
    possible = {
        name: count
        for name, count in distinct.items()
        if name != text and 2 <= count <= most and not is_split_column(table[name])
    }
    if not possible:
        found = ", ".join(f"{name} ({count} different values)" for name, count in distinct.items())
        raise DataProblem(
            f"PATH: no column looks like labels; found: {found}. Name one with --data.label_column."
        )
    return find_label_column(possible, findings)


def _detect_separator(values: list[str]) -> str:
    """Return the separator of several labels in a row, or '' if each value is one label.

    Values are taken for lists if their parts are fewer than the values, and most parts recur.
    """
    whole = {value for value in values if value.strip()}
    for mark in SEPARATORS:
        containing = sum(mark in value for value in values)
        parts = Counter(part for value in values for part in split_labels(value, mark))
        rare = sum(count < 3 for count in parts.values())
        if (
            containing >= 0.02 * len(values)
            and rare <= 0.1 * len(parts)
            and len(parts) < len(whole)
        ):
            return mark
    return ""


def _describe_column(values: list[str], name: str, text: str, label: str, split: str | None) -> str:
    use = {text: "the texts; ", label: "the labels; ", split: "the splits; "}.get(name, "")
    empty = sum(not value.strip() for value in values)
    missing = f", {empty} empty" if empty else ""
    return f"{use}{len(set(values))} different values{missing}"
