import json

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.interfaces import Split
from {{ cookiecutter.package_name }}.preprocessing import UNKNOWN, Preprocessing

TEXTS = ["a b", "a b c c", "a", "b b a unseen", "x " * 50]


def split_of(texts: list[str]) -> Split:
    constant = tf.constant(texts)
    labels = np.array(["yes", "no"] * len(texts))[: len(texts)]
    ids = np.arange(len(texts)).astype(str)
    return Split(ids, labels, lambda places: tf.gather(constant, places))


def fitted(*words: str, texts: list[str] = TEXTS) -> Preprocessing:
    return Preprocessing.fit(split_of(texts), load_config(words, environment={}))


def test_numbers() -> None:
    preprocessing = fitted("--data.max_tokens", "6")
    assert preprocessing.vocabulary == ("x", "a", "b", "c")
    rows = preprocessing.prepare(tf.constant(["a b NEW", "", "x " * 9])).numpy()
    assert rows.tolist() == [[3, 4, UNKNOWN, 0, 0, 0], [0] * 6, [2] * 6]
    assert preprocessing.lengths(rows).numpy().tolist() == [3, 0, 6]


def test_what_is_cut_is_said() -> None:
    notes = fitted("--data.max_tokens", "6").notes()
    assert notes["texts_cut"] == pytest.approx(1 / 5)
    assert notes["tokens_lost"] == pytest.approx(44 / 61, abs=1e-4)
    assert fitted("--data.max_tokens", "100").notes()["texts_cut"] == 0


@pytest.mark.parametrize("kind", ["word", "character", "character_ngram", "subword"])
def test_saved_and_read_again(kind: str) -> None:
    texts = ["the first text", "the second text", "the third"] * 3
    preprocessing = fitted("--data.tokens", kind, texts=texts)
    again = Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
    assert again == preprocessing
    raw = tf.constant(["the first", "A TEXT", "", "😀"])
    np.testing.assert_array_equal(again(raw), preprocessing(raw))
    assert np.asarray(preprocessing(raw))[0].max() > UNKNOWN


def test_only_the_training_split_is_learnt_from() -> None:
    assert "unseen" not in fitted().vocabulary
    assert fitted(texts=["new new"] * 4).vocabulary == ("new",)


def test_chinese_is_divided_into_characters_by_itself() -> None:
    preprocessing = fitted(texts=["质量很好", "质量很差"] * 5)
    assert preprocessing.tokens == "character"
    assert preprocessing(tf.constant(["质量"])).numpy()[0, :2].min() > UNKNOWN


def test_capital_letters_count_if_asked() -> None:
    assert fitted("--data.lowercase", "false", texts=["A a"] * 3).vocabulary == ("A", "a")


def test_nothing_to_learn_from() -> None:
    with pytest.raises(DataProblem, match="no token stands in the training texts twice"):
        fitted(texts=["one", "two", "three", "four"])


def test_bytes_that_are_no_text() -> None:
    preprocessing = fitted()
    rows = preprocessing(tf.constant([b"\xff\xfe a", b"a\x00b", "😀".encode()]))
    assert np.asarray(rows).max() > UNKNOWN


def test_a_megabyte_in_one_text() -> None:
    assert np.asarray(fitted()(tf.constant(["a " * 500_000]))).shape[0] == 1
