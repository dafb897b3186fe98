"""From tokens of texts, chats and pairs of answers to rows of one length.

A piece is a run of tokens that see each other. Long texts become several pieces, each of which
begins with the last token of the one before, so that every token is predicted once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

WINDOW = 64  # rows that are open at a time
AT_ONCE = 2**19  # characters that are encoded at a time


class Piece(NamedTuple):
    """Tokens that see each other, and nothing else.

    Attributes:
        tokens: ids (length,).
        weights: (length,) whether each token is to be predicted; the first one never is.
        document: number of the text that it is from.
    """

    tokens: np.ndarray
    weights: np.ndarray
    document: int


class TokenRow(NamedTuple):
    """A row: arrays (length,), or (length, 2) of a chosen and a rejected answer."""

    tokens: np.ndarray
    segments: np.ndarray
    weights: np.ndarray
    document: int


def cut_pieces(tokens: Iterable[Sequence[int]], length: int, document: int) -> Iterator[Piece]:
    """Cut the tokens of a text, which come in parts, into pieces that overlap by one token.

    Args:
        tokens: ids of the parts.
        length: tokens of a piece at most.
        document: number of the text.
    """
    rest = np.zeros(0, "int32")
    begun = False
    for part in tokens:
        rest = np.concatenate([rest, np.asarray(part, "int32")])
        while len(rest) >= length:
            yield _predict_all(rest[:length], document)
            rest, begun = rest[length - 1 :], True
    # One token alone predicts nothing; it has been predicted by the piece before.
    if len(rest) > 1 or (len(rest) == 1 and not begun):
        yield _predict_all(rest, document)


def _predict_all(tokens: np.ndarray, document: int) -> Piece:
    weights = np.ones(len(tokens), bool)
    weights[0] = False
    return Piece(tokens, weights, document)


def cut_chat(
    parts: Iterable[tuple[Sequence[int], bool]], length: int, document: int
) -> tuple[Piece, int]:
    """Join the parts of a chat, of which only answers are predicted; cut what is too long.

    Args:
        parts: ids, and whether they are an answer.
        length: tokens of a piece at most; those at the end of the chat are lost.
        document: number of the chat.

    Returns:
        The piece, and the number of lost tokens.
    """
    tokens: list[int] = []
    weights: list[bool] = []
    for ids, is_answer in parts:
        tokens += ids
        weights += [is_answer] * len(ids)
    piece = Piece(np.array(tokens[:length], "int32"), np.array(weights[:length], bool), document)
    piece.weights[:1] = False
    return piece, max(0, len(tokens) - length)


def cut_pair(
    chosen: Iterable[tuple[Sequence[int], bool]],
    rejected: Iterable[tuple[Sequence[int], bool]],
    length: int,
    document: int,
) -> tuple[TokenRow, int]:
    """Make the row of a pair; of a long prompt the beginning is lost, of long answers the end.

    Args:
        chosen, rejected: ids of the parts, and whether they are the answer.
        length: tokens of a row.
        document: number of the pair.

    Returns:
        The row, and the number of lost tokens.
    """
    both, lost = [], 0
    for parts in (chosen, rejected):
        tokens: list[int] = []
        weights: list[bool] = []
        for ids, is_answer in parts:
            tokens += ids
            weights += [is_answer] * len(ids)
        both.append((tokens, weights))
    # Both answers keep the same prompt: what the longer one leaves of the row, at least a half.
    answers = [sum(weights) for _, weights in both]
    prompts = [len(tokens) - answer for (tokens, _), answer in zip(both, answers, strict=True)]
    room = max(length - max(answers), length // 2, 1)
    row = _empty_row((length, 2), document)
    for side, (tokens, weights) in enumerate(both):
        begin = max(0, prompts[side] - room)
        ids = tokens[begin : begin + length]
        row.tokens[: len(ids), side] = ids
        row.segments[: len(ids), side] = 1
        row.weights[: len(ids), side] = weights[begin : begin + length]
        row.weights[0, side] = False
        lost += len(tokens) - len(ids)
    return row, lost


def fill_rows(pieces: Iterable[Piece], length: int, packing: bool) -> Iterator[TokenRow]:
    """Put pieces into rows, each into the first open row that has room for it.

    Args:
        pieces: of at most ``length`` tokens each.
        length: of a row, in tokens.
        packing: whether a row may hold several pieces; none sees the others.
    """
    opened: list[list[Piece]] = []
    free: list[int] = []
    for piece in pieces:
        if not packing or len(piece.tokens) == length:
            yield _make_row([piece], length)
            continue
        place = next((n for n, room in enumerate(free) if room >= len(piece.tokens)), None)
        if place is None:
            if len(opened) == WINDOW:
                fullest = int(np.argmin(free))
                free.pop(fullest)
                yield _make_row(opened.pop(fullest), length)
            opened.append([])
            free.append(length)
            place = len(opened) - 1
        opened[place].append(piece)
        free[place] -= len(piece.tokens)
        if free[place] < 2:  # a token alone would not be predicted
            free.pop(place)
            yield _make_row(opened.pop(place), length)
    for row in opened:
        yield _make_row(row, length)


def _make_row(pieces: Sequence[Piece], length: int) -> TokenRow:
    row = _empty_row((length,), pieces[0].document)
    start = 0
    for number, piece in enumerate(pieces, start=1):
        end = start + len(piece.tokens)
        row.tokens[start:end], row.weights[start:end] = piece.tokens, piece.weights
        row.segments[start:end] = number
        start = end
    return row


def _empty_row(shape: tuple[int, ...], document: int) -> TokenRow:
    return TokenRow(
        np.zeros(shape, "int32"), np.zeros(shape, "int32"), np.zeros(shape, bool), document
    )


def encode_texts(
    texts: Iterable[tuple[int, str]], encode_all: Callable[[Sequence[str]], list[list[int]]]
) -> Iterator[tuple[int, list[int]]]:
    """Encode texts in their order, many at a time, which the library does in parallel.

    Args:
        texts: a number, such as that of the document, and a text; see ``texts.cut_texts``.
        encode_all: texts -> their ids.
    """
    waiting: list[tuple[int, str]] = []
    characters = 0
    for number, text in texts:
        waiting.append((number, text))
        characters += len(text)
        if characters >= AT_ONCE:
            yield from _encode(waiting, encode_all)
            waiting, characters = [], 0
    yield from _encode(waiting, encode_all)


def _encode(
    waiting: Sequence[tuple[int, str]], encode_all: Callable[[Sequence[str]], list[list[int]]]
) -> Iterator[tuple[int, list[int]]]:
    encoded = encode_all([text for _, text in waiting])
    yield from zip((number for number, _ in waiting), encoded, strict=True)
