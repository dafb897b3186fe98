"""Texts of many languages and of none become tokens."""

import pytest

from {{ cookiecutter.package_name }} import tokens
from {{ cookiecutter.package_name }}.tokens import normalize


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
    assert tokens.split_words(normalize(text, lowercase=False)) == [
        normalize(token, lowercase=False) for token in expected
    ]


def test_normalize() -> None:
    assert normalize("\uff21\uff22\uff23\u0000  \ufeffx\ny", lowercase=True) == "abc x y"
    assert normalize("e\u0301", lowercase=False) == "é"
    assert normalize("A", lowercase=False) == "A"
    assert len(normalize("a" * 2_000_000, lowercase=True)) == tokens.MAX_CHARACTERS


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
def test_detect_tokenizer(texts: list[str], kind: str) -> None:
    assert tokens.detect_tokenizer(texts) == kind


def test_character_ngrams_overlap() -> None:
    assert tokens.split_character_ngrams("abcd") == ["abc", "bcd"]
    assert tokens.split_character_ngrams("ab") == ["ab"]
    assert tokens.split_character_ngrams("") == []


def test_subwords_are_trained_and_reloaded() -> None:
    texts = ["unhappy unhappily happily", "happy happier unhappier"] * 20
    learnt = tokens.train_subwords(texts, 40)
    subwords = tokens.load_subwords(learnt)("unhappiest")
    assert "".join(subwords).lstrip("▁").startswith("unhapp")
    assert 1 < len(subwords) < len("unhappiest")
    assert tokens.train_subwords(texts, 40) == learnt


def test_vocabulary_is_sorted_by_frequency() -> None:
    texts = [["b", "a", "b"], ["a", "b", "once"]]
    assert tokens.build_vocabulary(texts, 10) == ("b", "a")
    assert tokens.build_vocabulary(texts, 1) == ("b",)
