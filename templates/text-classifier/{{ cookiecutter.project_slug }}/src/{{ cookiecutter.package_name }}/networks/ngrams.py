"""TF-IDF with logistic regression as a layer: the strongest simple model of texts.

scikit-learn fits it exactly, to the features that the layer itself computes of the training texts,
so training, ``predict`` and serving cannot differ. N-grams are looked up by a hash of their token
ids (A. Joulin et al., Bag of Tricks, EACL 2017), so no backend needs strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops
from scipy.sparse import csr_matrix, vstack

from ..engine.cache import CHUNK
from ..objective import mean_loss

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

SLOTS = 1_048_573  # hash values of n-grams; a prime
CHECKS = 1_048_571  # values of a second hash, which detects collisions in a slot; another prime
# A number below SLOTS times a factor fits into 31 bits. Two products spread neighbouring tokens
# over all slots; one would put common pairs side by side.
SLOT_FACTORS, CHECK_FACTORS = (2_039, 2_029), (1_999, 2_011)
FIRST_ID = 2  # of a token of the vocabulary: 0 is padding, 1 an unknown token
MIN_TEXTS = 2  # training texts that contain an n-gram of the vocabulary
MAX_WEIGHTS = 4_000_000  # of the regression; L-BFGS needs some 200 bytes for each
MAX_NGRAMS = 200_000
PRUNE_SIZE = 8_000_000  # distinct n-grams from which those seen once are dropped
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0)  # inverse of regularization, scikit-learn's C
FOLDS = 5  # one of them is held out to select the strength

Tensor = Any  # of Keras' backend; Keras has no types


@keras.saving.register_keras_serializable(__package__)
class NGramLogits(layers.Layer):
    """Map token ids (batch, tokens) to logits (batch, classes).

    A feature is 1 + log of an n-gram's count in the text, times its inverse document frequency
    (K. Spärck Jones, J. Documentation 28, 1972); each text's features have an L2 norm of 1.

    Args:
        num_ngrams: size of the vocabulary of n-grams.
        num_classes: number of classes.
        max_n: tokens of the longest n-gram.
    """

    needs_float32 = True  # rows and checks are numbers, of which rounding would make others

    def __init__(self, num_ngrams: int, num_classes: int, max_n: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_ngrams, self.num_classes, self.max_n = num_ngrams, num_classes, max_n

    def build(self, shape: tuple[int | None, ...]) -> None:
        def add_constant(size: int, name: str) -> keras.Variable:
            return self.add_weight((size,), "zeros", trainable=False, name=name)

        # Row 0 stands for all n-grams outside the vocabulary. Rows and checks are below 2**24,
        # which float32 holds exactly; not every backend and device takes integer weights.
        rows = self.num_ngrams + 1
        self.rows = add_constant(SLOTS, "rows")
        self.checks = add_constant(rows, "checks")
        self.idf = add_constant(rows, "idf")
        self.kernel = self.add_weight((rows, self.num_classes), "zeros", name="kernel")
        self.bias = self.add_weight((self.num_classes,), "zeros", name="bias")

    def call(self, tokens: Tensor) -> Tensor:
        rows, values = self.tfidf(tokens)
        weights = ops.take(self.kernel, rows, axis=0)  # (batch, n-grams, classes)
        return ops.sum(weights * ops.expand_dims(values, -1), axis=1) + self.bias

    def tfidf(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sorted rows (batch, n-grams) of all n-grams, and their values.

        The values of equal rows add up to the feature.
        """
        rows = ops.sort(self.lookup(tokens), axis=1)
        seen = _count_before(rows)
        # The values of an n-gram that occurs n times add up to 1 + log(n), and ``squares`` to the
        # square of that.
        before = ops.where(seen > 0, 1 + ops.log(ops.maximum(seen, 1.0)), 0.0)
        after = 1 + ops.log(seen + 1)
        idf = ops.where(rows > 0, ops.take(self.idf, rows), 0.0)
        squares = idf * idf * (after * after - before * before)
        norm = ops.sqrt(ops.maximum(ops.sum(squares, axis=1, keepdims=True), 1e-12))
        return rows, idf * (after - before) / norm

    def lookup(self, tokens: Tensor) -> Tensor:
        """Return the row of each n-gram, 0 outside the vocabulary.

        Args:
            tokens: token ids (batch, tokens).

        Returns:
            (batch, max_n * tokens) int32: first those of one token by position, then those of two
            tokens by the position of the first one, and so on.
        """
        # All three (batch, max_n * tokens).
        slots, checks, valid = hash_ngrams(tokens, self.max_n)
        rows = ops.cast(ops.take(self.rows, slots), "int32")
        same = ops.cast(ops.take(self.checks, rows), "int32") == checks
        return ops.where(valid & same, rows, 0)

    def set_ngrams(self, codes: np.ndarray, counts: np.ndarray, num_texts: int) -> None:
        """Set the vocabulary of n-grams, and their inverse document frequencies.

        Args:
            codes: (n-grams,) as ``find_frequent`` returns them, the most frequent first.
            counts: (n-grams,) number of training texts that contain each.
            num_texts: number of all training texts.
        """
        slots, checks = np.divmod(codes, CHECKS)
        rows = np.zeros(SLOTS, "float32")
        # Of several n-grams in a slot, the last assignment stays: that of the most frequent one.
        rows[slots[::-1]] = np.arange(len(codes), 0, -1)
        self.rows.assign(rows)
        self.checks.assign(np.append(-1, checks).astype("float32"))
        idf = np.log((1 + num_texts) / (1 + counts)) + 1
        self.idf.assign(np.append(0, idf).astype("float32"))

    def transform(self, tokens: csr_matrix) -> csr_matrix:
        """Compute TF-IDF features (texts, n-grams + 1) of token ids (texts, tokens)."""
        parts = []
        for batch in _dense_batches(tokens):
            rows, values = map(ops.convert_to_numpy, self.tfidf(batch))
            texts = np.repeat(np.arange(len(batch)), rows.shape[1]).reshape(rows.shape)
            known = rows > 0
            shape = (len(batch), self.num_ngrams + 1)
            parts.append(csr_matrix((values[known], (texts[known], rows[known])), shape))
        return vstack(parts, format="csr")

    def get_config(self) -> dict[str, Any]:
        names = ("num_ngrams", "num_classes", "max_n")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def fit(
    batches: Iterable[np.ndarray], truth: np.ndarray, num_classes: int, max_n: int, **options: Any
) -> NGramLogits:
    """Make a layer that starts as the logistic regression of training texts.

    Args:
        batches: token ids (batch, tokens) of the texts, in random order.
        truth: class indices (texts,), or 0 and 1 (texts, classes) of several labels.
        num_classes: number of classes.
        max_n: tokens of the longest n-gram.
        options: of the layer.
    """
    # Tokenised once for all four passes; sparse, since most of a batch is padding.
    tokens = vstack([csr_matrix(batch) for batch in batches], format="csr")  # (texts, tokens)
    held_out = np.arange(len(truth)) % FOLDS == 0
    strength = STRENGTHS[1]
    if len(np.unique(truth[~held_out])) == len(np.unique(truth)):
        # N-grams are counted without the held-out texts: those shared with one other text only
        # would seem more informative than they are.
        layer = _count_ngrams(tokens[~held_out], num_classes, max_n)
        inputs = layer.transform(tokens)
        strength, _ = select_strength(
            inputs[~held_out], truth[~held_out], inputs[held_out], truth[held_out]
        )
    layer = _count_ngrams(tokens, num_classes, max_n, **options)
    if layer.num_ngrams:
        kernel, bias = fit_regression(layer.transform(tokens), truth, strength)
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
    return layer


def fit_regression(
    inputs: csr_matrix, truth: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression.

    Args:
        inputs: features (texts, features).
        truth: class indices (texts,), or 0 and 1 (texts, classes).
        strength: inverse of regularization.

    Returns:
        Its weights (features, classes) and biases (classes,).
    """
    model = _make_regression(truth, strength).fit(inputs, truth)
    if truth.ndim == 2:
        pairs = [(one.coef_[0], one.intercept_[0]) for one in model.estimators_]
        weights, biases = map(np.array, zip(*pairs, strict=True))
    else:
        weights, biases = model.coef_, model.intercept_
        if len(biases) == 1:  # scikit-learn has one logit for two classes
            weights, biases = (np.concatenate([-half, half]) / 2 for half in (weights, biases))
    return weights.T.astype("float32"), biases.astype("float32")


def select_strength(
    inputs: csr_matrix, truth: np.ndarray, held_out: csr_matrix, held_out_truth: np.ndarray
) -> tuple[float, LogisticRegression | OneVsRestClassifier]:
    """Select the strength whose regression has the lowest loss on held-out texts.

    The loss falls to the best strength and rises after it, so the first rise ends the search:
    unlike scikit-learn's ``LogisticRegressionCV``, which fits all strengths.

    Args:
        inputs: features (texts, features) to fit.
        truth: their class indices (texts,), or 0 and 1 (texts, classes).
        held_out: features of the held-out texts.
        held_out_truth: the same as ``truth`` for them.

    Returns:
        The strength and its regression.
    """
    best: tuple[float, Any] | None = None
    lowest = np.inf
    for strength in STRENGTHS:
        model = _make_regression(truth, strength).fit(inputs, truth)
        loss = mean_loss(held_out_truth, model.predict_proba(held_out))
        if loss > lowest:
            break
        best, lowest = (strength, model), loss
    assert best is not None, "the first strength is below infinity"
    return best


def _count_ngrams(tokens: csr_matrix, num_classes: int, max_n: int, **options: Any) -> NGramLogits:
    """Make a layer with the frequent n-grams of texts (texts, tokens), and weights of zero."""
    codes, counts = find_frequent(
        _dense_batches(tokens), max_n, limit=min(MAX_NGRAMS, MAX_WEIGHTS // num_classes)
    )
    layer = NGramLogits(len(codes), num_classes, max_n, **options)
    layer.build((None, None))
    layer.set_ngrams(codes, counts, tokens.shape[0])
    return layer


def _dense_batches(tokens: csr_matrix) -> Iterator[np.ndarray]:
    return (tokens[i : i + CHUNK].toarray() for i in range(0, tokens.shape[0], CHUNK))


def find_frequent(
    batches: Iterable[np.ndarray], max_n: int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the n-grams that occur in most texts.

    Args:
        batches: token ids (batch, tokens).
        max_n: tokens of the longest n-gram.
        limit: largest number of n-grams.

    Returns:
        Codes (n-grams,) int64, slot * CHECKS + check, the most frequent first; and the number of
        texts that contain each.
    """
    codes, counts = np.empty(0, "int64"), np.empty(0, "int64")
    pending: list[np.ndarray] = []

    def merge() -> None:
        nonlocal codes, counts, pending
        fresh, fresh_counts = np.unique(np.concatenate([codes[:0], *pending]), return_counts=True)
        merged, index = np.unique(np.concatenate([codes, fresh]), return_inverse=True)
        totals = np.bincount(index, np.concatenate([counts, fresh_counts])).astype("int64")
        kept = totals >= (MIN_TEXTS if len(merged) > PRUNE_SIZE else 1)
        codes, counts, pending = merged[kept], totals[kept], []

    for tokens in batches:
        slots, checks, valid = map(ops.convert_to_numpy, hash_ngrams(tokens, max_n))
        found = np.sort(np.where(valid, slots * np.int64(CHECKS) + checks, -1), axis=1)
        # Once per text, however often an n-gram occurs in it.
        first = np.diff(found, axis=1, prepend=-1) > 0
        pending.append(found[first])
        if sum(map(len, pending)) > PRUNE_SIZE:
            merge()
    merge()
    order = np.lexsort((codes, -counts))
    order = order[counts[order] >= MIN_TEXTS][:limit]
    return codes[order], counts[order]


def hash_ngrams(tokens: Tensor, max_n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hash all n-grams of texts.

    Args:
        tokens: ids (batch, tokens) int32.
        max_n: tokens of the longest n-gram.

    Returns:
        Slots and checks (batch, n-grams) int32, and whether each n-gram is valid: without padding
        and unknown tokens.
    """
    slots, checks, valid = [], [], []
    slot = check = ops.zeros_like(tokens)
    known = ops.ones_like(tokens, dtype="bool")
    for shift in range(max_n):
        # Shifted to the left, so that each n-gram is at the position of its first token.
        shifted = ops.pad(tokens[:, shift:], [[0, 0], [0, shift]])
        slot = _mix(slot, shifted, SLOT_FACTORS, SLOTS)
        check = _mix(check, shifted, CHECK_FACTORS, CHECKS)
        known = known & (shifted >= FIRST_ID)
        slots.append(slot)
        checks.append(check)
        valid.append(known)
    all_slots, all_checks, all_valid = (
        ops.concatenate(part, axis=1) for part in (slots, checks, valid)
    )
    return all_slots, all_checks, all_valid


def _mix(number: Tensor, token: Tensor, factors: tuple[int, int], modulus: int) -> Tensor:
    number = (number + token) % modulus
    for factor in factors:
        number = (number * factor + 1) % modulus
    return number


def _count_before(rows: Tensor) -> Tensor:
    """Count the equal numbers before each of sorted numbers (batch, size), as float32."""
    position = ops.cast(ops.cumsum(ops.ones_like(rows), axis=1) - 1, "int32")
    begins = ops.concatenate(
        [ops.ones_like(rows[:, :1], dtype="bool"), rows[:, 1:] != rows[:, :-1]], axis=1
    )
    # The position at which each run of equal numbers begins, and the run of each number.
    firsts = ops.sort(ops.where(begins, position, 2**30), axis=1)
    run = ops.cumsum(ops.cast(begins, "int32"), axis=1) - 1
    return ops.cast(position - ops.take_along_axis(firsts, run, axis=1), "float32")


def _make_regression(
    truth: np.ndarray, strength: float
) -> LogisticRegression | OneVsRestClassifier:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(C=strength, max_iter=300)
    return OneVsRestClassifier(model) if truth.ndim == 2 else model
