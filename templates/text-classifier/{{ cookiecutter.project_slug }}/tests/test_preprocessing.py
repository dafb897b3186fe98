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


def fit(*words: str, texts: list[str] = TEXTS) -> Preprocessing:
    return Preprocessing.fit(split_of(texts), load_config(words, environment={}))


def test_token_ids() -> None:
    preprocessing = fit("--data.sequence_length", "6")
    assert preprocessing.vocabulary == ("x", "a", "b", "c")
    rows = preprocessing.prepare(tf.constant(["a b NEW", "", "x " * 9])).numpy()
    assert rows.tolist() == [[3, 4, UNKNOWN, 0, 0, 0], [0] * 6, [2] * 6]
    assert preprocessing.lengths(rows).numpy().tolist() == [3, 0, 6]


def test_truncation_is_reported() -> None:
    notes = fit("--data.sequence_length", "6").notes()
    assert notes["truncated_texts"] == pytest.approx(1 / 5)
    assert notes["truncated_tokens"] == pytest.approx(44 / 61, abs=1e-4)
    assert fit("--data.sequence_length", "100").notes()["truncated_texts"] == 0


@pytest.mark.parametrize("kind", ["word", "character", "character_ngram", "subword"])
def test_saved_and_read_again(kind: str) -> None:
    texts = ["the first text", "the second text", "the third"] * 3
    preprocessing = fit("--data.tokenizer", kind, texts=texts)
    again = Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
    assert again == preprocessing
    raw = tf.constant(["the first", "A TEXT", "", "😀"])
    np.testing.assert_array_equal(again(raw), preprocessing(raw))
    assert np.asarray(preprocessing(raw))[0].max() > UNKNOWN


def test_vocabulary_is_that_of_the_training_split() -> None:
    assert "unseen" not in fit().vocabulary
    assert fit(texts=["new new"] * 4).vocabulary == ("new",)


def test_auto_splits_chinese_into_characters() -> None:
    preprocessing = fit(texts=["质量很好", "质量很差"] * 5)
    assert preprocessing.tokenizer == "character"
    assert preprocessing(tf.constant(["质量"])).numpy()[0, :2].min() > UNKNOWN


def test_capital_letters_count_if_asked() -> None:
    assert fit("--data.lowercase", "false", texts=["A a"] * 3).vocabulary == ("A", "a")


def test_no_repeated_token() -> None:
    with pytest.raises(DataProblem, match="no token occurs twice in the training texts"):
        fit(texts=["one", "two", "three", "four"])


def test_undecodable_bytes() -> None:
    preprocessing = fit()
    rows = preprocessing(tf.constant([b"\xff\xfe a", b"a\x00b", "😀".encode()]))
    assert np.asarray(rows).max() > UNKNOWN


def test_one_megabyte_in_a_text() -> None:
    assert np.asarray(fit()(tf.constant(["a " * 500_000]))).shape[0] == 1
