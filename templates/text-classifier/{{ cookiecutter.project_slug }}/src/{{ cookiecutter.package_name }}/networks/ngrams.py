"""TF-IDF with logistic regression as a layer: the strongest simple model of texts.

It is fitted exactly, by scikit-learn, to what the layer itself makes of the training texts, so
training, ``predict`` and serving cannot differ. N-grams are looked up by numbers drawn from their
tokens (A. Joulin et al., Bag of Tricks, EACL 2017), so no backend needs strings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import layers, ops
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from ..objective import mean_loss

SLOTS = 1_048_573  # numbers for n-grams; a prime
CHECKS = 1_048_571  # numbers that tell apart those of one slot; another
# Numbers below SLOTS times a factor fit into 31 bits. Two products spread neighbouring tokens
# over all slots; one would put common pairs side by side.
SLOT_FACTORS, CHECK_FACTORS = (2_039, 2_029), (1_999, 2_011)
FIRST = 2  # token number from which on n-grams count: 0 is padding, 1 an unknown token
FEWEST = 2  # training texts that an n-gram must stand in to count
MOST_WEIGHTS = 4_000_000  # of the regression; L-BFGS needs some 200 bytes for each
MOST_NGRAMS = 200_000
PRUNED = 8_000_000  # different n-grams after which those seen once are forgotten
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0)  # inverse regularisation
FOLDS = 5  # one of them chooses the strength

Batches = Callable[[], Iterator[np.ndarray]]


@keras.saving.register_keras_serializable(__package__)
class NGramLogits(layers.Layer):
    """Token numbers (batch, tokens) -> logits (batch, classes).

    Each n-gram counts 1 + log of how often it stands in the text, times its inverse document
    frequency (K. Spärck Jones, J. Documentation 28, 1972); each text is scaled to a length of 1.

    Args:
        ngrams: different ones that count.
        longest: tokens of the longest n-gram.
    """

    def __init__(self, ngrams: int, classes: int, longest: int, **options) -> None:
        super().__init__(**options)
        self.ngrams, self.classes, self.longest = ngrams, classes, longest

    def build(self, shape) -> None:
        def fixed(shape, name):
            return self.add_weight(shape, "zeros", trainable=False, name=name)

        # Row 0 stands for all n-grams that do not count. Rows and checks are below 2**24, which
        # float32 holds exactly; whole numbers are no weights for every backend and device.
        self.rows = fixed((SLOTS,), "rows")
        self.checks = fixed((self.ngrams + 1,), "checks")
        self.rarity = fixed((self.ngrams + 1,), "rarity")
        self.table = self.add_weight((self.ngrams + 1, self.classes), "zeros", name="table")
        self.bias = self.add_weight((self.classes,), "zeros", name="bias")

    def call(self, tokens):
        rows, values = self.tfidf(tokens)
        weights = ops.take(self.table, rows, axis=0)  # (batch, n-grams, classes)
        return ops.sum(weights * ops.expand_dims(values, -1), axis=1) + self.bias

    def tfidf(self, tokens):
        """Rows (batch, n-grams) of the table, sorted, and what each adds to its n-gram's value."""
        slots, checks, counts = ngrams(tokens, self.longest)
        rows = ops.cast(ops.take(self.rows, slots), "int32")
        same = ops.cast(ops.take(self.checks, rows), "int32") == checks
        rows = ops.sort(ops.where(counts & same, rows, 0), axis=1)
        seen = _seen_before(rows)
        # Of an n-gram that comes n times the values add up to 1 + log(n), its squares to the
        # square of that.
        before = ops.where(seen > 0, 1 + ops.log(ops.maximum(seen, 1.0)), 0.0)
        after = 1 + ops.log(seen + 1)
        rarity = ops.where(rows > 0, ops.take(self.rarity, rows), 0.0)
        squares = rarity * rarity * (after * after - before * before)
        length = ops.sqrt(ops.maximum(ops.sum(squares, axis=1, keepdims=True), 1e-12))
        return rows, rarity * (after - before) / length

    def count(self, codes: np.ndarray, texts: np.ndarray, size: int) -> None:
        """Set which n-grams count, and their inverse document frequency.

        Args:
            codes: (ngrams,) of ``frequent``, the most frequent first.
            texts: (ngrams,) training texts that each stands in.
            size: all training texts.
        """
        slots, checks = np.divmod(codes, CHECKS)
        rows = np.zeros(SLOTS, "float32")
        # In a slot of several the last one stays: the most frequent.
        rows[slots[::-1]] = np.arange(len(codes), 0, -1)
        self.rows.assign(rows)
        self.checks.assign(np.append(-1, checks).astype("float32"))
        rarity = np.log((1 + size) / (1 + texts)) + 1
        self.rarity.assign(np.append(0, rarity).astype("float32"))

    def matrix(self, batches: Iterator[np.ndarray]) -> csr_matrix:
        """TF-IDF (texts, ngrams + 1) of batches of token numbers."""
        parts = []
        for tokens in batches:
            rows, values = map(ops.convert_to_numpy, self.tfidf(tokens))
            places = np.repeat(np.arange(len(tokens)), rows.shape[1]).reshape(rows.shape)
            kept = rows > 0
            shape = (len(tokens), self.ngrams + 1)
            parts.append(csr_matrix((values[kept], (places[kept], rows[kept])), shape))
        return vstack(parts, format="csr")

    def get_config(self):
        own = {"ngrams": self.ngrams, "classes": self.classes, "longest": self.longest}
        return {**super().get_config(), **own}


def fit(batches: Batches, truth: np.ndarray, classes: int, longest: int, **options) -> NGramLogits:
    """A layer that begins as the logistic regression of training texts.

    Args:
        batches: gives token numbers (batch, tokens) of the texts, each time anew; the texts'
            order is a random one.
        truth: (texts,) class numbers, or 0 and 1 (texts, classes) where a text may have several.
        options: of the layer.
    """
    held = np.arange(len(truth)) % FOLDS == 0
    strength = STRENGTHS[1]
    if len(np.unique(truth[~held])) == len(np.unique(truth)):
        # The n-grams are counted without the texts that choose: those that just one of the others
        # has in common with them would seem to tell more than they do.
        layer = _counting(_only(batches, ~held), np.sum(~held), classes, longest)
        inputs = layer.matrix(batches())
        strength, _ = best(inputs[~held], truth[~held], inputs[held], truth[held])
    layer = _counting(batches, len(truth), classes, longest, **options)
    if layer.ngrams:
        table, bias = regression(layer.matrix(batches()), truth, strength)
        layer.table.assign(table)
        layer.bias.assign(bias)
    return layer


def regression(
    inputs: csr_matrix, truth: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (width, classes) and biases (classes,) of the logistic regression of all rows."""
    model = _model(truth, strength).fit(inputs, truth)
    if truth.ndim == 2:
        found = [(one.coef_[0], one.intercept_[0]) for one in model.estimators_]
        weights, biases = map(np.array, zip(*found, strict=True))
    else:
        weights, biases = model.coef_, model.intercept_
        if len(biases) == 1:  # of two classes the second one's, against the first
            weights, biases = (np.concatenate([-half, half]) / 2 for half in (weights, biases))
    return weights.T.astype("float32"), biases.astype("float32")


def best(
    inputs: csr_matrix, truth: np.ndarray, held: csr_matrix, held_truth: np.ndarray
) -> tuple[float, LogisticRegression | OneVsRestClassifier]:
    """The strength whose regression of ``inputs`` predicts ``held`` best, and that regression.

    The loss falls to the best strength and rises after it, so the first rise ends the search.
    """
    found, least = None, np.inf
    for strength in STRENGTHS:
        model = _model(truth, strength).fit(inputs, truth)
        loss = mean_loss(held_truth, model.predict_proba(held))
        if loss > least:
            break
        found, least = (strength, model), loss
    return found


def _counting(batches: Batches, size: int, classes: int, longest: int, **options) -> NGramLogits:
    """A layer that counts the n-grams of ``size`` texts, and whose table is empty."""
    most = min(MOST_NGRAMS, MOST_WEIGHTS // classes)
    codes, texts = frequent(batches(), longest, most)
    layer = NGramLogits(len(codes), classes, longest, **options)
    layer.build((None, None))
    layer.count(codes, texts, size)
    return layer


def _only(batches: Batches, which: np.ndarray) -> Batches:
    """Batches of those texts for which ``which`` (texts,) is true."""

    def part() -> Iterator[np.ndarray]:
        place = 0
        for tokens in batches():
            kept = tokens[which[place : place + len(tokens)]]
            place += len(tokens)
            if len(kept):
                yield kept

    return part


def frequent(
    batches: Iterator[np.ndarray], longest: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the n-grams that stand in most texts, the most frequent first, and in how many."""
    codes, texts, waiting = np.empty(0, "int64"), np.empty(0, "int64"), []

    def merge() -> None:
        nonlocal codes, texts, waiting
        fresh, counts = np.unique(np.concatenate([codes[:0], *waiting]), return_counts=True)
        joined, place = np.unique(np.concatenate([codes, fresh]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([texts, counts])).astype("int64")
        kept = counts >= (FEWEST if len(joined) > PRUNED else 1)
        codes, texts, waiting = joined[kept], counts[kept], []

    for tokens in batches:
        slots, checks, counts = map(ops.convert_to_numpy, ngrams(tokens, longest))
        found = np.sort(np.where(counts, slots * np.int64(CHECKS) + checks, -1), axis=1)
        # Each one once a text.
        first = np.diff(found, axis=1, prepend=-1) > 0
        waiting.append(found[first])
        if sum(map(len, waiting)) > PRUNED:
            merge()
    merge()
    order = np.lexsort((codes, -texts))
    order = order[texts[order] >= FEWEST][:most]
    return codes[order], texts[order]


def ngrams(tokens, longest: int):
    """Slots and checks (batch, n-grams) of all n-grams, and which of them count: those without
    padding and unknown tokens."""
    slots, checks, counts = [], [], []
    slot = check = ops.zeros_like(tokens)
    known = ops.ones_like(tokens, dtype="bool")
    for shift in range(longest):
        # ``tokens`` moved to the left: each n-gram stands at its first token.
        moved = ops.pad(tokens[:, shift:], [[0, 0], [0, shift]])
        slot = _mixed(slot, moved, SLOT_FACTORS, SLOTS)
        check = _mixed(check, moved, CHECK_FACTORS, CHECKS)
        known = known & (moved >= FIRST)
        slots.append(slot), checks.append(check), counts.append(known)
    return tuple(ops.concatenate(part, axis=1) for part in (slots, checks, counts))


def _mixed(number, token, factors: tuple[int, int], modulus: int):
    number = (number + token) % modulus
    for factor in factors:
        number = (number * factor + 1) % modulus
    return number


def _seen_before(rows):
    """How often each of sorted numbers (batch, size) stands before it, as float32."""
    place = ops.cast(ops.cumsum(ops.ones_like(rows), axis=1) - 1, "int32")
    begins = ops.concatenate(
        [ops.ones_like(rows[:, :1], dtype="bool"), rows[:, 1:] != rows[:, :-1]], axis=1
    )
    # Places at which a new number begins, ascending, and which of them each number belongs to.
    firsts = ops.sort(ops.where(begins, place, 2**30), axis=1)
    belongs = ops.cumsum(ops.cast(begins, "int32"), axis=1) - 1
    return ops.cast(place - ops.take_along_axis(firsts, belongs, axis=1), "float32")


def _model(truth: np.ndarray, strength: float) -> LogisticRegression | OneVsRestClassifier:
    model = LogisticRegression(C=strength, max_iter=300)
    return OneVsRestClassifier(model) if truth.ndim == 2 else model
