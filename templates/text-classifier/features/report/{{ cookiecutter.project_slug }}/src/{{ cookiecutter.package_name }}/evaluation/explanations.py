"""Which tokens of a text speak for a class.

All methods compare a text with one of as many unknown tokens, as the model saw some in training:
integrated gradients of embeddings for networks, and for the regression of n-grams, which is linear,
the weight of each n-gram times its value. A model of both has the sum of both.
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from ..engine.artifact import Artifact
from ..engine.explanations import (
    Attributions,
    Contributions,
    Part,
    class_weights,
    find_embedding,
    get_probe,
    integrate_gradients,
)
from ..engine.interfaces import Split
from ..networks import presets, views
from ..networks.ngrams import NGramLogits
from ..objective import select_explained
from ..preprocessing import PADDING, UNKNOWN, Preprocessing, texts_of
from ..tokens import NGRAM, normalize

GRADIENTS = "integrated gradients of the tokens' embeddings"
LINEAR = "weights of the n-grams, shared by their tokens"
MEANING = "what a token adds to the class's logit, compared with an unknown one"


def explain(
    model: Artifact, split: Split, positions: np.ndarray, names: Sequence[str] | None = None
) -> list[Contributions]:
    """Explain predictions for texts.

    Args:
        model: the trained model.
        split: its texts.
        positions: (batch,) of the texts to explain.
        names: (batch,) of classes; None: the likeliest ones.
    """
    preprocessing = model.preprocessing
    tokens = np.asarray(preprocessing(split.fetch(positions)))
    classes, scores = select_explained(model.outputs(tokens), names, preprocessing)
    exclusive = not preprocessing.separator
    weights = class_weights(classes, len(preprocessing.classes), exclusive)
    found, method = attribute(model, tokens, weights)
    results = zip(texts_of(split, positions), classes, scores, strict=True)
    return [
        Contributions(
            target=preprocessing.classes[index],
            score=float(score),
            method=f"{method}: {MEANING}",
            error=float(found.error[row]),
            parts=_parts(text, found.values[row], preprocessing),
            difference=float(found.difference[row]),
        )
        for row, (text, index, score) in enumerate(results)
    ]


def attribute(model: Artifact, tokens: np.ndarray, weights: np.ndarray) -> tuple[Attributions, str]:
    """Attribute weighted sums of logits to tokens.

    Args:
        tokens: token ids (batch, tokens).
        weights: (batch, classes) of the logits.

    Returns:
        Values of tokens (batch, tokens), and how they were found.
    """
    network = model.network
    fitted, embedding = _find_layer(network, NGramLogits), find_embedding(network)
    shares = _view_weights(network)
    values, difference = np.zeros(tokens.shape), np.zeros(len(tokens))
    error = np.zeros(len(tokens))
    methods = []
    if fitted is not None:
        values += shares[0] * attribute_ngrams(fitted, tokens, weights)
        difference += values.sum(axis=1)
        methods.append(LINEAR)
    if embedding is not None and shares[1]:
        unknown = np.where(tokens == PADDING, PADDING, UNKNOWN).astype(tokens.dtype)
        probe = get_probe(model, embedding)
        ends = (probe.read(tokens), probe.read(unknown))
        found = integrate_gradients(probe, *ends, tokens, weights)
        # Around the tokens, a preset has special ones, which are the same in both.
        before = (found.values.shape[1] - tokens.shape[1]) // 2
        values += found.values.sum(axis=-1)[:, before : before + tokens.shape[1]]
        difference += found.difference
        missed = np.abs(difference - values.sum(axis=1))
        error = np.where(found.error > 0, missed / np.maximum(np.abs(difference), 1e-3), 0.0)
        methods.append(GRADIENTS)
    return Attributions(values, difference, error), " and ".join(methods)


def attribute_ngrams(layer: NGramLogits, tokens: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share out what each n-gram adds to weighted sums of logits among its tokens.

    Args:
        layer: its weights are those of the n-grams.
        tokens: token ids (batch, tokens).
        weights: (batch, classes) of the logits.

    Returns:
        (batch, tokens); they add up to the weighted sums without the biases.
    """
    kernel, idf = (keras.ops.convert_to_numpy(part) for part in (layer.kernel, layer.idf))
    rows = keras.ops.convert_to_numpy(layer.lookup(tokens))
    length = tokens.shape[1]
    values = np.zeros(tokens.shape)
    for text, own in enumerate(rows):
        places = np.flatnonzero(own)
        found, inverse, counts = np.unique(own[places], return_inverse=True, return_counts=True)
        features = (1 + np.log(counts)) * idf[found]
        features /= np.linalg.norm(features) or 1.0
        # An n-gram that occurs several times has as much of its feature at each place.
        shares = (features * (kernel[found] @ weights[text]) / counts)[inverse]
        sizes, starts = places // length + 1, places % length
        for offset in range(layer.max_n):
            inside = sizes > offset
            np.add.at(values[text], starts[inside] + offset, (shares / sizes)[inside])
    return values


def _view_weights(network: keras.Model) -> tuple[float, float]:
    """Return how much the n-grams and the network count."""
    blend = _find_layer(network, views.LogitBlend)
    if blend is None:
        return 1.0, 1.0
    fitted, other = keras.ops.convert_to_numpy(blend.view_weights)
    return float(fitted), float(other)


def _find_layer(network: keras.Model, kind: type) -> Any:
    return next((layer for layer in network.layers if isinstance(layer, kind)), None)


def _parts(text: str, values: np.ndarray, preprocessing: Preprocessing) -> tuple[Part, ...]:
    """Return the parts of a text with values (tokens,), which may end in padding."""
    tokens = preprocessing.split(text)[: preprocessing.sequence_length]
    written = normalize(text, lowercase=False)
    if not tokens:
        return ()
    if preprocessing.tokenizer == "character_ngram":
        # They overlap: each character has its share of the tokens that it is in.
        width = min(NGRAM, len(written))
        kernel = np.ones(width) / width
        values = np.convolve(values[: len(tokens)], kernel)[: len(written)]
        pieces = list(written[: len(values)])
    else:
        marked = preprocessing.tokenizer in ("subword", presets.TOKENIZER)
        pieces = find_pieces(written, [_unmark(t) for t in tokens] if marked else tokens)
        pieces = [piece or token for piece, token in zip(pieces, tokens, strict=True)]
    return tuple(Part(piece, float(value)) for piece, value in zip(pieces, values, strict=False))


def find_pieces(text: str, tokens: list[str]) -> list[str]:
    """Return what is written for each token, with the spaces behind it.

    Case and accents are ignored. A token that is not found has what is left between its neighbours.

    Args:
        text: as written.
        tokens: of the text, in order, as the model reads them.

    Returns:
        (tokens,) which together are the text up to the last token.
    """
    folded, starts, end = _fold(text), [], 0
    for token in map(_fold, tokens):
        place = folded.find(token, end)
        if place < 0:
            rest = text[end:]
            starts.append(end + len(rest) - len(rest.lstrip()))
        else:
            starts.append(place)
            end = place + len(token)
    borders = [0, *starts[1:], end] if starts else []
    return [text[a : max(a, b)] for a, b in pairwise(borders)]


def _fold(text: str) -> str:
    """Return a text in lower case, without accents, and as long as before."""
    return "".join(unicodedata.normalize("NFD", letter.lower())[0] for letter in text)


def _unmark(token: str) -> str:
    """Remove the marks that tokenisers of subwords put at the ends of tokens."""
    return token.removeprefix("##").removesuffix("</w>").lstrip("\u2581\u0120")
