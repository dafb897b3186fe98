"""Sources of texts, chats and preference pairs, and their splits as rows of tokens.

A source takes the ``data`` fields and yields ``Row``s. To add one, write such a function and add a
line to ``SOURCES`` in ``registry.py``.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from . import tokens
from .config import Config, DataConfig
from .datasets import chats, preferences
from .datasets import python_docs as topics
from .datasets.corpus import CHAT, PAIRS, TEXT, Corpus, Row, Span
from .datasets.division import divide
from .datasets.hugging_face import load_parts
from .datasets.packing import (
    Piece,
    TokenRow,
    cut_chat,
    cut_pair,
    cut_pieces,
    encode_texts,
    fill_rows,
)
from .datasets.rows import read_rows, records_to_rows, require_suffix
from .datasets.splits import SPLITS, TRAIN
from .datasets.store import TokenSplit, store_rows
from .datasets.texts import SUFFIXES, cut_texts, find_texts, read_chunks
from .engine.data_path import require_path
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits
from .engine.lookup import find
from .preprocessing import Preprocessing
from .registry import SOURCES, TOKENIZERS
from .tokens import Tokenizer

log = logging.getLogger(__package__)

DEFAULT_CONTEXT = 128
SAMPLE = 20_000_000  # bytes of training texts that a vocabulary is learnt from
SAMPLE_PART = 2**16  # bytes of each place that the sample is taken from
FORMAT = 1  # of stored rows; raised when the same texts become other rows


# === Sources ===


def python_docs(data: DataConfig) -> Iterator[Row]:
    """Yield the English topics of Python's own help, about 465,000 characters.

    Topics that contain others stay in one split.
    """
    yield from topics.rows()


def texts(data: DataConfig) -> Iterator[Row]:
    """Read a text file of any size, or all text files below a folder.

    A single file is divided by position. In a folder with ``train/``, ``validation/`` and ``test/``
    these are the splits.

    Raises:
        UsageProblem: ``data.path`` is empty.
        DataProblem: there is no such file or folder, or no text in it.
    """
    path = require_path(data, Path.exists, "file or folder")
    if path.is_file():
        yield Row(path.name, read_chunks(path, data.encoding))
        return
    found = find_texts(path)
    if not found:
        raise DataProblem(f"data.path: {data.path!r} has no files with {', '.join(SUFFIXES)}.")
    for file, split in found:
        name = file.relative_to(path).as_posix()
        yield Row(name, read_chunks(file, data.encoding), split=split)


def rows(data: DataConfig) -> Iterator[Row]:
    """Read a jsonl or parquet file with a text, a chat or a preference pair in each row.

    Raises:
        UsageProblem: ``data.path`` is empty, or its suffix is not that of the source.
        DataProblem: there is no such file, or it is no such table.
    """
    path = require_path(data, Path.is_file, "file")
    require_suffix(path, data.source)
    yield from read_rows(path, data)


def hugging_face(data: DataConfig) -> Iterator[Row]:
    """Load a Hugging Face data set (``hf:NAME``), or a folder that ``save_to_disk`` wrote.

    For a folder, ``data.source`` is ``hf:local`` and ``data.path`` the folder. Extra: ``hf``.

    Raises:
        ProjectError: the extra is not installed, or the set cannot be loaded.
        DataProblem: a column is missing.
    """
    name = data.source.removeprefix("hf:")
    for title, split, part in load_parts(data):
        label = f"{name} {title}".strip()
        yield from records_to_rows(part, data, label, split, list(part.features))


# === From texts to splits ===


def load(config: Config, preprocessing: Any = None) -> DatasetSplits:
    """Read the configured source, divide it, and turn it into rows of tokens.

    Args:
        config: the configuration.
        preprocessing: that of a model to evaluate, whose tokens are used; None: learn them from the
            training texts, or take the preset's.

    Raises:
        DataProblem: the texts cannot be learnt from; the message names file and row.
        UsageProblem: fields do not go together.
    """
    data = config.data
    corpus = Corpus.read(find(SOURCES, data.source)(data), data)
    if len(corpus) == 1 and corpus.kind == TEXT:
        log.info("One text: its beginning trains, its end tests")
    _check_loss(corpus.kind, config)
    spans, copies, near = divide(corpus, data)
    model = preprocessing or choose_preprocessing(corpus, spans[TRAIN], config)
    if preprocessing and model.kind != corpus.kind:
        raise DataProblem(
            f"data: the model has learnt from data of the kind {model.kind!r}, and these are of "
            f"{corpus.kind!r}."
        )
    digest = _hash(corpus, spans, model)
    splits = {name: _make_split(corpus, spans[name], model, f"{digest}/{name}") for name in SPLITS}
    for name, split in splits.items():
        if len(split) == 0:
            reason = f"no answer begins within model.context {model.context}"
            if corpus.kind == TEXT:
                reason = "its texts are shorter than 2 tokens"
            raise DataProblem(f"data: nothing is left to predict in the {name} split: {reason}.")
    if config.train.loss == "dpo":
        splits = {name: _add_reference(split, config) for name, split in splits.items()}
    return DatasetSplits(
        source=data.source,
        digest=digest,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        duplicates=copies,
        unreadable=tuple(corpus.unreadable),
        notes=_describe(corpus, spans, splits, near),
    )


def choose_preprocessing(corpus: Corpus, train: list[Span], config: Config) -> Preprocessing:
    """Choose tokens, context and chat template for training texts.

    Args:
        corpus: all texts.
        train: those of the training split.
        config: the configuration.

    Raises:
        UsageProblem: the tokens do not go with the model.
        DataProblem: the preset's tokens or the chat template cannot be read.
    """
    data, model = config.data, config.model
    template = None
    if data.chat_template:
        try:
            template = Path(data.chat_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataProblem(f"data.chat_template: {data.chat_template!r}: {error}.") from None
    is_preset = model.name == "preset"
    kind = data.tokens
    if kind == "auto":
        kind = tokens.PRESET if is_preset else "subword"
    if is_preset != (kind == tokens.PRESET):
        raise UsageProblem(
            f"data.tokens: {kind!r} does not go with model.name {model.name!r}; auto does."
        )
    packed = not is_preset if data.packing is None else data.packing
    if corpus.kind == PAIRS:
        packed = False  # a row has both answers of a pair
    earlier = _find_earlier(config)
    if is_preset:
        tokenizer, context = _read_preset(config)
    elif earlier is not None:
        tokenizer, context = earlier.tokenizer, model.context or earlier.context
        template = template or earlier.chat_template
    else:
        sample = list(_sample(corpus, train))
        size = data.vocabulary_size
        if size is None and kind == "subword":
            total = sum(span.end - span.start for span in train)
            size = tokens.choose_size(sample, max(1.0, total / SAMPLE))
        tokenizer = find(TOKENIZERS, kind)(sample, size)
        context = model.context or DEFAULT_CONTEXT
    return Preprocessing(tokenizer, context, corpus.kind, template, packed)


def _find_earlier(config: Config) -> Preprocessing | None:
    """Return that of the model whose weights training begins with, unless tokens are configured."""
    data, name = config.data, config.train.init_from
    if not name or config.model.name == "preset":
        return None
    if data.tokens != "auto" or data.vocabulary_size is not None:
        return None
    from .engine.trained_models import find_artifact
    from .task import task

    earlier, _ = find_artifact(name, task, config, "train.init_from")
    return earlier.preprocessing if isinstance(earlier.preprocessing, Preprocessing) else None


def _read_preset(config: Config) -> tuple[Tokenizer, int]:
    from .networks import presets

    if not config.model.preset:
        raise UsageProblem("model.preset: model.name 'preset' needs a folder or a name.")
    try:
        tokenizer = tokens.read_preset(presets.find_folder(config.model.preset))
    except DataProblem as error:
        raise DataProblem(f"model.preset: {config.model.preset!r}: {error}") from None
    return tokenizer, presets.choose_context(config)


def _sample(corpus: Corpus, spans: list[Span]) -> Iterator[str]:
    """Yield training texts, of large ones parts from all over them, ``SAMPLE`` bytes in all."""
    total = sum(span.end - span.start for span in spans)
    if total <= SAMPLE:
        for span in spans:
            yield from corpus.texts(span)
        return
    every = total / SAMPLE
    if corpus.kind != TEXT:
        step = max(1, round(every))
        for span in spans[::step]:
            yield from corpus.texts(span)
        return
    due, place = 0.0, 0
    for span in spans:
        for start in range(span.start, span.end, SAMPLE_PART):
            stop = min(start + SAMPLE_PART, span.end)
            if place >= due:
                first = corpus.character_start(start, span.end)
                last = corpus.character_start(stop, span.end)
                yield corpus.bytes(first, last).decode()
                due += (last - first) * every
            place += stop - start


def _check_loss(kind: str, config: Config) -> None:
    wanted = PAIRS if config.train.loss == "dpo" else None
    if (kind == PAIRS) != (wanted == PAIRS):
        what = {TEXT: "texts", CHAT: "chats", PAIRS: "preference pairs"}[kind]
        needed = "needs preference pairs" if wanted else "needs texts or chats; dpo takes pairs"
        raise UsageProblem(
            f"train.loss: {config.train.loss!r} {needed}, and data.source "
            f"{config.data.source!r} has {what}."
        )


def _add_reference(split: TokenSplit, config: Config) -> TokenSplit:
    from .objective import measure_reference

    return split.with_reference(np.asarray(measure_reference(config, split), "float32"))


def _hash(corpus: Corpus, spans: dict[str, list[Span]], model: Preprocessing) -> str:
    """Hash texts, their division, tokens and everything else that decides the rows."""
    settings = model.to_config() | {"format": FORMAT}
    lines = [json.dumps(settings, sort_keys=True)]
    for name in SPLITS:
        ids = "\n".join(corpus.ids[span.document] for span in spans[name])
        lines += [name, ids, corpus.digest(spans[name])]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def _describe(
    corpus: Corpus, spans: dict[str, list[Span]], splits: dict[str, TokenSplit], near: int
) -> dict[str, Any]:
    lost = {name: split.lost_tokens for name, split in splits.items() if split.lost_tokens}
    if lost:
        shown = ", ".join(f"{count:,} of {name}" for name, count in lost.items())
        log.info("Tokens lost, since they did not fit into model.context: %s", shown)
    return {
        "kind": corpus.kind,
        "texts": {name: len(spans[name]) for name in SPLITS},
        "bytes": {name: sum(s.end - s.start for s in spans[name]) for name in SPLITS},
        "tokens": {name: int(split.predicted.sum()) for name, split in splits.items()},
        "lost_tokens": lost,
        "near_duplicates": near,
        "divided_by_position": len(corpus) == 1,
    }


# === From texts to rows ===


class _RowMaker:
    """Makes the rows of a split, and counts the tokens that do not fit."""

    def __init__(self, corpus: Corpus, spans: list[Span], model: Preprocessing) -> None:
        self.corpus, self.spans, self.model = corpus, spans, model
        self.length = model.context + 1
        self.lost = 0

    def rows(self) -> Iterator[TokenRow]:
        if self.corpus.kind == PAIRS:
            yield from self._pairs()
            return
        pieces = self._texts() if self.corpus.kind == TEXT else self._chats()
        yield from fill_rows(pieces, self.length, self.model.packed)

    def _texts(self) -> Iterator[Piece]:
        encoded = encode_texts(self._cut(), self.model.tokenizer.encode_all)
        for place, parts in groupby(encoded, key=itemgetter(0)):
            span = self.spans[place]
            ids = self._wrap((part for _, part in parts), span)
            for piece in cut_pieces(ids, self.length, span.document):
                if len(piece.tokens) > 1:
                    yield piece

    def _cut(self) -> Iterator[tuple[int, str]]:
        for place, span in enumerate(self.spans):
            for text in cut_texts(self.corpus.chunks(span)):
                yield place, text

    def _wrap(self, parts: Iterator[list[int]], span: Span) -> Iterator[list[int]]:
        """Yield the start token, the text, and the end token where the text has its end."""
        tokenizer, whole = self.model.tokenizer, self.corpus.span(span.document)
        if span.start == whole.start:
            yield tokenizer.start_ids
        yield from parts
        if span.end == whole.end:
            yield [tokenizer.end_id]

    def _chats(self) -> Iterator[Piece]:
        template = chats.make_template(self.model)
        for span in self.spans:
            row = self.corpus.record(span.document)
            try:
                examples = template.render_examples(row.messages or [], row.tools)
            except DataProblem as error:
                raise DataProblem(f"data: {row.id}: {error}") from None
            for example in examples:
                piece, lost = cut_chat(self._encode(example), self.length, span.document)
                if piece.weights.any():
                    yield piece
                else:
                    lost += len(piece.tokens)
                self.lost += lost

    def _pairs(self) -> Iterator[TokenRow]:
        template = chats.make_template(self.model)
        for span in self.spans:
            row = self.corpus.record(span.document)
            chosen, rejected = row.answers or ("", "")
            pair = preferences.Pair(row.messages or [], chosen, rejected)
            try:
                both = preferences.render_pair(template, pair)
            except DataProblem as error:
                raise DataProblem(f"data: {row.id}: {error}") from None
            chosen_ids, rejected_ids = map(self._encode, both)
            made, lost = cut_pair(chosen_ids, rejected_ids, self.length, span.document)
            self.lost += lost
            if made.weights.any(axis=0).all():
                yield made

    def _encode(self, parts: Iterable[tuple[str, bool]]) -> list[tuple[list[int], bool]]:
        encode = self.model.tokenizer.encode_prompt
        return [(encode(text), is_answer) for text, is_answer in parts]


def _make_split(corpus: Corpus, spans: list[Span], model: Preprocessing, digest: str) -> TokenSplit:
    maker = _RowMaker(corpus, spans, model)
    return store_rows(
        maker.rows(),
        corpus.ids,
        hashlib.sha256(digest.encode()).hexdigest(),
        {
            "tokenizer": model.tokenizer,
            "kind": corpus.kind,
            "context": model.context,
            "packed": model.packed,
            "chat_template": model.chat_template,
        },
        lambda: maker.lost,
    )
