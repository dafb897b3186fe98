"""Baselines that a model must beat: how often tokens, pairs and triples of tokens occur.

They predict the same tokens as the model. The trigram is the strongest simple one: interpolated
Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1999), whose discounts the validation split
chooses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from . import report
from .config import Config
from .datasets.corpus import PAIRS
from .datasets.store import TokenSplit
from .engine.interfaces import DatasetSplits
from .preprocessing import Preprocessing

MAX_TOKENS = 5_000_000  # of the training split that are counted
MAX_HELD_OUT = 50_000  # tokens of the validation split that choose the discounts
BATCH = 1024  # rows read at a time
DISCOUNTS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Return name, test metrics and outputs of each baseline.

    Args:
        data: the three splits.
        preprocessing: fitted on the training split.
        config: the configuration.
    """
    train, validation, test = cast("list[TokenSplit]", list(data.splits.values()))
    if preprocessing.kind == PAIRS:
        longer = _prefers_longer(train)
        name = "the longer answer" if longer else "the shorter answer"
        return [_row(name, _score_length(test, 1 if longer else -1), test, preprocessing)]
    model = count(train, validation)
    return [
        _row(name, _predict(test, model, order), test, preprocessing)
        for name, order in (("unigram", 1), ("trigram", 3))
    ]


def _row(name: str, outputs: np.ndarray, test: Any, preprocessing: Preprocessing) -> dict[str, Any]:
    measured = report.measure(test, outputs, preprocessing)
    metrics = {f"test/{key}": value for key, value in measured.items()}
    return {"name": name, "metrics": metrics, "outputs": outputs}


def _prefers_longer(train: TokenSplit) -> bool:
    """Return whether most chosen answers of the training split are longer than rejected ones."""
    differences = [np.diff(rows["weights"].sum(axis=1)) for _, rows in _batches(train)]
    return bool(np.sign(np.concatenate(differences)).sum() <= 0)


def _score_length(test: TokenSplit, sign: int) -> np.ndarray:
    """Return scores (size, 2) of both answers above the reference: their tokens, or minus them."""
    scores = np.zeros((len(test), 2), "float32")
    for start, rows in _batches(test):
        scores[start : start + len(rows["tokens"])] = sign * rows["weights"].sum(axis=1)
        if "reference" in rows:  # margins are taken from it
            scores[start : start + len(rows["tokens"])] += rows["reference"]
    return scores


@dataclass(frozen=True)
class Counts:
    """Conditional frequencies of one order, with absolute discounting.

    Attributes:
        keys: (entries,) sorted: context times vocabulary plus token.
        counts: (entries,) of each.
        contexts: (contexts,) sorted.
        totals: (contexts,) sum of counts of each context.
        kinds: (contexts,) number of different tokens behind each context.
        discount: taken from each count, and given to the lower order.
    """

    keys: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float = 0.75

    @classmethod
    def make(cls, contexts: np.ndarray, tokens: np.ndarray, size: int) -> "Counts":
        """Count tokens (number,) behind contexts (number,) in a vocabulary of ``size``."""
        keys, counts = np.unique(contexts * size + tokens, return_counts=True)
        found, first = np.unique(keys // size, return_index=True)
        totals = np.add.reduceat(counts, first) if len(first) else counts
        kinds = np.diff(np.append(first, len(keys)))
        return cls(keys, counts, found, totals, kinds)

    def weigh(self, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places (number,) of contexts, and the weight of the lower order there."""
        places = _find(self.contexts, contexts)
        known = places >= 0
        rest = np.ones(len(contexts))
        rest[known] = self.discount * self.kinds[places[known]] / self.totals[places[known]]
        return places, rest

    def probability(
        self, contexts: np.ndarray, tokens: np.ndarray, lower: np.ndarray, size: int
    ) -> np.ndarray:
        """Return the probability (number,) of tokens, given that of the lower order (number,)."""
        places, rest = self.weigh(contexts)
        found = _find(self.keys, contexts * size + tokens)
        own = np.zeros(len(contexts))
        known = found >= 0  # then the context is known too
        own[known] = (self.counts[found[known]] - self.discount) / self.totals[places[known]]
        return own + rest * lower


@dataclass(frozen=True)
class Trigram:
    """Interpolated Kneser-Ney model of tokens.

    Attributes:
        size: of the vocabulary, with an id for "nothing before".
        plain: (size,) frequency of each token.
        unigram: (size,) probability of each token in new contexts.
        bigram, trigram: conditional frequencies.
    """

    size: int
    plain: np.ndarray
    unigram: np.ndarray
    bigram: Counts
    trigram: Counts

    def probability(self, before: np.ndarray, tokens: np.ndarray, order: int) -> np.ndarray:
        """Return the probability (number,) of tokens (number,).

        Args:
            before: (number, 2) the two tokens before each.
            tokens: (number,) ids.
            order: 1 or 3.
        """
        if order == 1:
            return self.plain[tokens]
        lower = self.bigram.probability(before[:, 1], tokens, self.unigram[tokens], self.size)
        contexts = before[:, 0] * self.size + before[:, 1]
        return self.trigram.probability(contexts, tokens, lower, self.size)

    def best(self, before: np.ndarray, order: int) -> np.ndarray:
        """Return the likeliest token (number,) behind each two tokens (number, 2).

        It is one that was seen behind them, or else the likeliest one of the lower order.
        """
        if order == 1:
            return np.full(len(before), int(self.plain.argmax()))
        last = self._best_pairs
        unigram = int(self.unigram.argmax())
        places = _find(self.bigram.contexts, before[:, 1])
        best = np.where(places >= 0, last[places], unigram)
        triples, triple_probability = self._best_triples
        contexts = before[:, 0] * self.size + before[:, 1]
        at = _find(self.trigram.contexts, contexts)
        lower = self.probability(before, best, 3)
        better = (at >= 0) & (triple_probability[at] >= lower)
        return np.where(better, triples[at], best)

    @cached_property
    def _best_pairs(self) -> np.ndarray:
        contexts, tokens = np.divmod(self.bigram.keys, self.size)
        values = self.bigram.probability(contexts, tokens, self.unigram[tokens], self.size)
        best = int(self.unigram.argmax())
        tokens, values = _first_maxima(self.bigram, contexts, tokens, values)
        _, rest = self.bigram.weigh(self.bigram.contexts)
        # A token that was never seen there may still be likelier than all that were.
        other = rest * self.unigram[best]
        return np.where(values >= other, tokens, best)

    @cached_property
    def _best_triples(self) -> tuple[np.ndarray, np.ndarray]:
        contexts, tokens = np.divmod(self.trigram.keys, self.size)
        before = np.stack(np.divmod(contexts, self.size), axis=1)
        values = self.probability(before, tokens, 3)
        return _first_maxima(self.trigram, contexts, tokens, values)


def _first_maxima(
    counts: Counts, contexts: np.ndarray, tokens: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the token with the largest value of each context (contexts,), and that value."""
    order = np.lexsort((tokens, -values, contexts))
    first = np.searchsorted(contexts[order], counts.contexts)
    return tokens[order][first], values[order][first]


def count(train: TokenSplit, validation: TokenSplit) -> Trigram:
    """Count the training tokens; the validation split chooses the discounts.

    Args:
        train: the training split; of a large one, ``MAX_TOKENS`` from all over it.
        validation: the validation split.
    """
    size = train.tokenizer.size + 1  # one more: nothing before
    step = max(1, round(int(train.predicted.sum()) / MAX_TOKENS))
    before, tokens = _gather(train, np.arange(0, len(train), step))
    ids = size - 1
    plain = (np.bincount(tokens, minlength=size) + 0.1)[:size]
    plain[ids] = 0
    trigram = Counts.make(before[:, 0] * size + before[:, 1], tokens, size)
    # Kneser-Ney: lower orders count in how many different contexts a token occurs.
    contexts, last = np.divmod(trigram.keys, size)
    bigram = Counts.make(contexts % size, last, size)
    _, behind = np.divmod(bigram.keys, size)
    unigram = np.bincount(behind, minlength=size) + 0.1
    unigram[ids] = 0
    held_out = max(1, round(int(validation.predicted.sum()) / MAX_HELD_OUT))
    sample = _gather(validation, np.arange(0, len(validation), held_out))
    model = Trigram(size, plain / plain.sum(), unigram / unigram.sum(), bigram, trigram)
    return _choose_discounts(model, *sample)


def _choose_discounts(model: Trigram, before: np.ndarray, tokens: np.ndarray) -> Trigram:
    def fit(second: float, third: float) -> Trigram:
        bigram = replace(model.bigram, discount=second)
        return replace(model, bigram=bigram, trigram=replace(model.trigram, discount=third))

    candidates = [fit(second, third) for second in DISCOUNTS for third in DISCOUNTS]
    losses = [-np.log(m.probability(before, tokens, 3)).sum() for m in candidates]
    return candidates[int(np.argmin(losses))]


def _predict(split: TokenSplit, model: Trigram, order: int) -> np.ndarray:
    """Return log-probability and whether it is the likeliest (size, context, 2) of each token."""
    outputs = np.zeros((len(split), split.context, 2), "float32")
    for start, rows in _batches(split):
        before, tokens, places = _select(rows, model.size)
        part = outputs[start : start + len(rows["tokens"])]
        part[places[0], places[1] - 1, 0] = np.log(model.probability(before, tokens, order))
        part[places[0], places[1] - 1, 1] = model.best(before, order) == tokens
    return outputs


def _gather(split: TokenSplit, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two tokens before (number, 2) each predicted token (number,) of rows."""
    parts = [
        _select(split.read_rows(positions[start : start + BATCH]), split.tokenizer.size + 1)[:2]
        for start in range(0, len(positions), BATCH)
    ]
    before, tokens = zip(*parts, strict=True)
    return np.concatenate(before), np.concatenate(tokens)


def _select(
    rows: dict[str, np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Return contexts (number, 2), ids (number,) and places of the predicted tokens of rows."""
    tokens, segments = rows["tokens"].astype("int64"), rows["segments"]
    places = np.nonzero(rows["weights"])
    before = np.full((len(places[0]), 2), size - 1)
    for column, distance in ((1, 1), (0, 2)):
        at = places[1] - distance
        # Nothing before the first token of a segment.
        same = (at >= 0) & (segments[places[0], np.maximum(at, 0)] == segments[places])
        before[same, column] = tokens[places[0], np.maximum(at, 0)][same]
    return before, tokens[places], places


def _batches(split: TokenSplit) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    for start in range(0, len(split), BATCH):
        yield start, split.read_rows(np.arange(start, min(start + BATCH, len(split))))


def _find(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the places (number,) of wanted values in a sorted array; -1 where they are not."""
    if len(values) == 0:
        return np.full(len(wanted), -1)
    places = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[places] == wanted, places, -1)
