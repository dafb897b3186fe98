"""Inspection of texts, chats and preference pairs: fields for training, facts and warnings."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import tokens
from ..config import Config, DataConfig
from ..datasets.corpus import CHAT, PAIRS, TEXT, Corpus
from ..datasets.division import find_near_copies
from ..datasets.languages import languages
from ..datasets.messages import ROLES, detect_format
from ..datasets.rows import as_text, read_records
from ..datasets.splits import SPLIT_NAMES, SPLITS, is_split_column
from ..datasets.texts import SUFFIXES, find_texts, guess_encoding
from ..engine.errors import DataProblem
from ..engine.findings import Findings
from ..engine.inspection.columns import find_named, format_counts
from ..engine.lookup import find
from ..registry import SOURCES

TEXT_NAMES = ("text", "content", "body", "document", "article", "story", "sentence", "code")
FIRST_ROWS = 2_000  # of a file, by which its columns are known
SAMPLE = 2_000  # texts whose languages and tokens are counted
SAMPLE_CHARACTERS = 20_000  # of each
SMALL = 100_000  # bytes of training texts, with fewer of which a model learns little
MAX_UNREADABLE = 0.05  # the default of data.max_unreadable
CONTEXTS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
FITTING = 0.95  # of the chats are to fit into the context
NAMES = {TEXT: "texts", CHAT: "chats", PAIRS: "preference pairs"}


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Inspect a text file, a folder of such files, or a jsonl or parquet file.

    Args:
        path: the file or folder.
        config: the configuration, with fields that the user set.
        given: names of the ``data`` fields that the user set; the others are guessed.

    Raises:
        DataProblem: there is no text in it.
    """
    findings = Findings()
    is_table = path.is_file() and path.suffix in (".jsonl", ".parquet")
    source = path.suffix[1:] if is_table else "text"
    fields: dict[str, Any] = {"source": source, "path": str(path)}
    if path.suffix != ".parquet":
        fields["encoding"] = _find_encoding(path, config, given)
    if is_table:
        fields |= _inspect_columns(path, config, given, fields.get("encoding", "utf-8"), findings)
    findings.fields |= fields
    # All that can be read is looked at, and what cannot is reported below.
    data = config.data.model_copy(update=fields | {"max_unreadable": 1.0})
    corpus = Corpus.read(find(SOURCES, source)(data), data)
    if not len(corpus):
        name, reason = corpus.unreadable[0]
        raise DataProblem(f"PATH: {str(path)!r} has no text that can be used: {name}: {reason}.")
    _describe(path, corpus, data, findings)
    return findings


def _find_encoding(path: Path, config: Config, given: set[str]) -> str:
    if "encoding" in given:
        return config.data.encoding
    files = [path] if path.is_file() else [file for file, _ in find_texts(path)]
    if not files:
        raise DataProblem(f"PATH: {str(path)!r} has no files with {', '.join(SUFFIXES)}.")
    guesses = Counter(guess_encoding(file) or "utf-8" for file in files[:200])
    return guesses.most_common(1)[0][0]


# === Columns ===


def _inspect_columns(
    path: Path, config: Config, given: set[str], encoding: str, findings: Findings
) -> dict[str, Any]:
    first = list(islice(read_records(path, encoding), FIRST_ROWS))
    records = [record for _, record in first if isinstance(record, dict)]
    if not records:
        raise DataProblem(f"PATH: {str(path)!r} has no readable rows.")
    columns = list(dict.fromkeys(name for record in records for name in record))
    findings.add_fact("columns", ", ".join(columns))
    fields: dict[str, Any] = {}
    named = "text_column" in given or "format" in given
    form = None if named else detect_format(records[0])
    if not named and form in (None, "text"):
        fields["text_column"] = _find_text_column(columns, records, findings)
    elif form:
        fields["format"] = form
    names = ("split_column", "group_column", "id_column", "text_column", "format")
    fields |= {name: getattr(config.data, name) for name in names if name in given}
    if "split_column" not in given:
        for name in columns:
            values = [as_text(record.get(name)) for record in records]
            if is_split_column(values) and all(value.strip() for value in values):
                fields["split_column"] = name
                counts = Counter(SPLIT_NAMES[value.strip().lower()] for value in values)
                findings.add_fact("splits", f"column {name}: {format_counts(counts)}")
                break
    return fields


def _find_text_column(columns: list[str], records: list[dict], findings: Findings) -> str:
    lengths = {
        name: float(np.mean([len(record.get(name) or "") for record in records]))
        for name in columns
        if all(isinstance(record.get(name), str | None) for record in records)
    }
    if not lengths:
        raise DataProblem(f"PATH: no column holds texts; found: {', '.join(columns)}.")
    known = [name for name in find_named(list(lengths), *TEXT_NAMES) if lengths[name] > 0]
    if known:
        return max(known, key=lengths.__getitem__)
    longest = max(lengths, key=lengths.__getitem__)
    reason = "none is named as texts are and this has the longest values"
    others = [name for name in lengths if name != longest]
    findings.warn_of_guess("texts", "text_column", longest, reason, others)
    return longest


# === Texts ===


def _describe(path: Path, corpus: Corpus, data: DataConfig, findings: Findings) -> None:
    sizes, what = corpus.sizes(), NAMES[corpus.kind]
    findings.add_fact("source", f"{data.source}, {path.name}" + _name_encoding(findings))
    findings.add_fact(what, f"{len(corpus):,}; {_format_bytes(int(sizes.sum()))} in all")
    middle, most, longest = (int(np.quantile(sizes, q)) for q in (0.5, 0.95, 1.0))
    shown = (_format_bytes(size) for size in (middle, most, longest))
    findings.add_fact("sizes", "median {}, 95 % up to {}, longest {}".format(*shown))
    if any(corpus.splits) and not findings.fields.get("split_column"):
        findings.add_fact("splits", format_counts(Counter(corpus.splits)))
    sample = _read_sample(corpus)
    findings.add_fact("languages", languages(sample))
    if corpus.kind != TEXT:
        _describe_chats(corpus, findings)
    _describe_copies(corpus, findings)
    _describe_tokens(corpus, sample, findings)
    _warn_of_unusable(corpus, findings)
    _warn_of_number(corpus, int(sizes.sum()), findings)


def _name_encoding(findings: Findings) -> str:
    encoding = findings.fields.get("encoding")
    return f", {encoding}" if encoding else ""


def _read_sample(corpus: Corpus) -> list[str]:
    step = max(1, len(corpus) // SAMPLE)
    texts = []
    for number in range(0, len(corpus), step):
        text = ""
        for part in corpus.texts(corpus.span(number)):
            text += part + ("" if corpus.kind == TEXT else "\n")
            if len(text) > SAMPLE_CHARACTERS:
                break
        texts.append(text[: SAMPLE_CHARACTERS if len(corpus) > 1 else 50 * SAMPLE_CHARACTERS])
    return texts


def _describe_chats(corpus: Corpus, findings: Findings) -> None:
    step = max(1, len(corpus) // SAMPLE)
    roles, turns = Counter[str](), []
    for number in range(0, len(corpus), step):
        messages = corpus.record(number).messages or []
        roles.update(message["role"] for message in messages)
        turns.append(len(messages))
    middle, most = int(np.median(turns)), max(turns)
    findings.add_fact("messages", f"median {middle}, at most {most}; {format_counts(roles)}")


def _describe_copies(corpus: Corpus, findings: Findings) -> None:
    copies = len(corpus) - len(set(corpus.keys))
    near = max(0, len(corpus) - len(np.unique(find_near_copies(corpus))) - copies)
    findings.add_fact(
        "duplicates",
        f"{copies}, ignoring case, spaces and punctuation; {near} near-copies; all stay in one "
        "split",
    )
    if copies + near > len(corpus) / 2:
        findings.warn("more than half of the texts are copies; a model learns them by heart.")


def _describe_tokens(corpus: Corpus, sample: list[str], findings: Findings) -> None:
    scale = int(corpus.sizes().sum()) / max(sum(len(text.encode()) for text in sample), 1)
    size = tokens.choose_size(sample, max(1.0, scale))
    tokenizer = tokens.fit_subwords(sample, size)
    counts = np.array([len(ids) for ids in tokenizer.encode_all(sample)])
    characters = max(sum(map(len, sample)), 1)
    findings.add_fact(
        "tokens",
        f"{tokenizer.size:,} subwords, {characters / max(counts.sum(), 1):.1f} characters each",
    )
    if corpus.kind == TEXT:
        return
    overhead = 2 * len(ROLES)  # special tokens of the template
    needed = int(np.quantile(counts, FITTING)) + overhead
    context = next((size for size in CONTEXTS if size >= needed), CONTEXTS[-1])
    findings.add_fact("context", f"--model.context {context} takes {FITTING:.0%} of them whole")


def _warn_of_unusable(corpus: Corpus, findings: Findings) -> None:
    number = len(corpus.unreadable)
    if not number:
        return
    for reason, count in Counter(reason for _, reason in corpus.unreadable).most_common(5):
        first = next(name for name, why in corpus.unreadable if why == reason)
        findings.warn(f"{count} cannot be used, the first is {first}: {reason}.")
    share = number / (number + len(corpus))
    if share > MAX_UNREADABLE:
        findings.warn(f"{share:.0%} cannot be used; max_unreadable was raised for that.")
        findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))


def _warn_of_number(corpus: Corpus, size: int, findings: Findings) -> None:
    if len(corpus) == 1 and corpus.kind == TEXT:
        findings.add_fact("division", "by position: the beginning trains, the end tests")
    elif len(set(corpus.keys)) < len(SPLITS):
        findings.warn(
            f"{len(set(corpus.keys))} distinct {NAMES[corpus.kind]} are too few for three splits; "
            "training refuses that."
        )
    if corpus.kind == PAIRS:
        findings.warn("preference pairs need --train.loss dpo and a model that answers already.")
    elif size < SMALL:
        findings.warn(
            f"{_format_bytes(size)} are few to learn a language from; --model.name preset begins "
            "with a model that knows one."
        )


def _format_bytes(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
