"""Every token but the first of a text is predicted once; pieces of a row are kept apart."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.datasets.packing import (
    Piece,
    TokenRow,
    cut_chat,
    cut_pair,
    cut_pieces,
    encode_texts,
    fill_rows,
)
from {{ cookiecutter.package_name }}.datasets.texts import cut_texts, find_border


def list_predicted(pieces: list[Piece]) -> list[int]:
    return [int(token) for piece in pieces for token in piece.tokens[piece.weights]]


@pytest.mark.parametrize("length", [2, 3, 5, 9, 10, 11, 50])
@pytest.mark.parametrize("part", [1, 3, 10])
def test_each_token_is_predicted_once(length: int, part: int) -> None:
    tokens = list(range(100, 110))
    parts = (tokens[i : i + part] for i in range(0, len(tokens), part))
    pieces = list(cut_pieces(parts, length, document=3))
    assert list_predicted(pieces) == tokens[1:]
    assert all(len(piece.tokens) <= length and piece.document == 3 for piece in pieces)
    for before, after in pairwise(pieces):
        assert before.tokens[-1] == after.tokens[0]  # what the first prediction depends on


def piece(length: int, document: int) -> Piece:
    weights = np.ones(length, bool)
    weights[0] = False
    return Piece(np.full(length, document), weights, document)


def make_rows(lengths: list[int], length: int, packing: bool = True) -> list[TokenRow]:
    pieces = (piece(size, number) for number, size in enumerate(lengths, start=1))
    return list(fill_rows(pieces, length, packing))


def test_short_pieces_share_a_row() -> None:
    first, second = make_rows([3, 4, 2, 5], 9)
    assert first.tokens.tolist() == [1] * 3 + [2] * 4 + [3] * 2
    assert first.segments.tolist() == [1] * 3 + [2] * 4 + [3] * 2
    assert first.weights.tolist() == [False, True, True, False, True, True, True, False, True]
    assert second.tokens.tolist() == [4] * 5 + [0] * 4
    assert second.segments.tolist() == [1] * 5 + [0] * 4
    assert (first.document, second.document) == (1, 4)


def test_packing_loses_nothing_and_is_repeatable() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(2, 20, 500).tolist()
    rows = make_rows(lengths, 20)
    counts = np.bincount(np.concatenate([row.tokens[row.segments > 0] for row in rows]))
    assert counts[1:].tolist() == lengths
    assert sum(int(row.weights.sum()) for row in rows) == sum(lengths) - len(lengths)
    assert len(rows) < 1.1 * sum(lengths) / 20
    again = make_rows(lengths, 20)
    for one, other in zip(rows, again, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


def test_without_packing_each_piece_has_a_row() -> None:
    rows = make_rows([3, 4, 9], 9, packing=False)
    assert [int(row.segments.sum()) for row in rows] == [3, 4, 9]


def test_only_answers_of_a_chat_are_predicted() -> None:
    parts = [([1, 2], False), ([3, 4], True), ([5], False), ([6, 7], True)]
    chat, lost = cut_chat(parts, 6, 0)
    assert (list_predicted([chat]), lost) == ([3, 4, 6], 1)
    assert list_predicted([cut_chat([([1, 2], True)], 6, 0)[0]]) == [2]  # the first one never is


def test_pairs_keep_their_answers() -> None:
    prompt = (list(range(10, 20)), False)
    row, lost = cut_pair([prompt, ([1, 2], True)], [prompt, ([3, 4, 5], True)], 8, 0)
    assert row.tokens.T.tolist() == [[15, 16, 17, 18, 19, 1, 2, 0], [15, 16, 17, 18, 19, 3, 4, 5]]
    assert row.weights.T.astype(int).tolist() == [[0] * 5 + [1, 1, 0], [0] * 5 + [1] * 3]
    assert lost == 10
    long, lost = cut_pair([prompt, ([1] * 9, True)], [prompt, ([3], True)], 8, 0)
    assert long.weights.sum(axis=0).tolist() == [4, 1]
    assert lost == 6 + 5 + 6


# === Long texts ===


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two\nthree\n\nFour five", "One. Two\nthree\n\n"),
        ("One two. Three\nfour five", "One two. Three\n"),
        ("One two three. Four five", "One two three."),
        ("one two three four five", "one two three four"),
        ("这是第一句话。这是第二句话", "这是第一句话。"),
        ("abcdefgh", "abcdefgh"),
    ],
)
def test_cut_at_the_best_border(text: str, first: str) -> None:
    assert text[: find_border(text)] == first


def test_cut_texts_lose_nothing() -> None:
    text = ("word " * 30 + "\n\n" + "x" * 120 + ". ") * 5

    def chunks() -> Iterator[str]:
        yield from (text[i : i + 37] for i in range(0, len(text), 37))

    pieces = list(cut_texts(chunks(), longest=50))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 50
    assert list(cut_texts([])) == []


def test_a_text_without_an_end_is_read_in_parts() -> None:
    read = []

    def chunks() -> Iterator[str]:
        for number in range(10**9):
            read.append(number)
            yield "x" * 1_000

    texts = ((7, text) for text in cut_texts(chunks()))
    parts = encode_texts(texts, lambda several: [[len(text)] for text in several])
    assert next(parts) == (7, [2**16])
    assert len(read) < 2_000
