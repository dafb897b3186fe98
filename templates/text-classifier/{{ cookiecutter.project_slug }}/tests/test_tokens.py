"""Texts of many languages and of none become tokens."""

import pytest

from {{ cookiecutter.package_name }} import tokens
from {{ cookiecutter.package_name }}.tokens import normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where's my parcel?", ["Where", "'", "s", "my", "parcel", "?"]),
        ("naïve Größe", ["naïve", "Größe"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("தமிழ் நூல்", ["தமிழ்", "நூல்"]),
        ("iPhone 很好用", ["iPhone", "很", "好", "用"]),
        ("สวัสดี", list("สวัสดี")),
        ("😀😀", ["😀", "😀"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert tokens.words(normalised(text, lowercase=False)) == [
        normalised(token, lowercase=False) for token in expected
    ]


def test_one_spelling_for_what_looks_alike() -> None:
    assert normalised("\uff21\uff22\uff23\u0000  \ufeffx\ny", lowercase=True) == "abc x y"
    assert normalised("e\u0301", lowercase=False) == "é"
    assert normalised("A", lowercase=False) == "A"
    assert len(normalised("a" * 2_000_000, lowercase=True)) == tokens.MOST_CHARACTERS


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["Where is it?", "Здравствуйте", "हिन्दी में"], "word"),
        (["质量很好", "很差"], "character"),
        (["とても良いです"], "character"),
        (["ดีมาก ๆ"], "character"),
        (["한국어 문장입니다"], "word"),
        (["a mail that names 北京 once"], "word"),
        (["😀", "123"], "word"),
    ],
)
def test_auto_sees_whether_words_are_separated(texts: list[str], kind: str) -> None:
    assert tokens.fitting_kind(texts) == kind


def test_character_ngrams_overlap() -> None:
    assert tokens.character_ngrams("abcd") == ["abc", "bcd"]
    assert tokens.character_ngrams("ab") == ["ab"]
    assert tokens.character_ngrams("") == []


def test_subwords_are_learnt_and_read_again() -> None:
    texts = ["unhappy unhappily happily", "happy happier unhappier"] * 20
    learnt = tokens.learn_subwords(texts, 40)
    divided = tokens.subwords(learnt)("unhappiest")
    assert "".join(divided).lstrip("▁").startswith("unhapp")
    assert 1 < len(divided) < len("unhappiest")
    assert tokens.learn_subwords(texts, 40) == learnt


def test_vocabulary_holds_what_stands_there_twice_the_most_frequent_first() -> None:
    texts = [["b", "a", "b"], ["a", "b", "once"]]
    assert tokens.vocabulary(texts, 10) == ("b", "a")
    assert tokens.vocabulary(texts, 1) == ("b",)
