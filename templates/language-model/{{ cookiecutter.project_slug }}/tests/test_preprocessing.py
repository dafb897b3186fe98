import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.tokens import fit_bytes

TOKENIZER = fit_bytes([], None)


def test_it_is_what_the_training_split_was_made_with() -> None:
    config = load_config(["--model.context", "16", "--data.limit", "9"], environment={})
    data = load(config)
    preprocessing = Preprocessing.fit(data.train, config)
    assert preprocessing.tokenizer == data.train.tokenizer
    assert (preprocessing.context, preprocessing.max_length) == (16, 17)
    assert preprocessing.notes() == {
        "tokens": "subword",
        "vocabulary": data.train.tokenizer.size,
        "context": 16,
        "kind": "text",
        "packing": True,
    }
    rows = data.train.read_rows(np.arange(2))
    assert preprocessing.prepare(rows) is preprocessing.finish(rows) is preprocessing(rows) is rows
    assert preprocessing.lengths is None


@pytest.mark.parametrize("kind", ["text", "chat", "pairs"])
def test_saved_and_read_again(kind: str) -> None:
    preprocessing = Preprocessing(TOKENIZER, 8, kind, "a template", packed=False)
    saved = json.loads(json.dumps(preprocessing.to_config()))
    assert Preprocessing.from_config(saved) == preprocessing


def test_lengths() -> None:
    segments = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 2, 2, 2]], "int32")
    for kind, rows in (
        ("chat", {"segments": segments}),
        ("pairs", {"segments": np.stack([segments, segments[[1, 1, 1]]], axis=-1)}),
    ):
        lengths = Preprocessing(TOKENIZER, 4, kind, packed=False).lengths
        assert lengths is not None
        counted = tf.function(lengths)(rows)
        assert list(counted) == ["tokens", "segments", "weights"]
        assert [values.numpy().tolist() for values in counted.values()] == [[3, 2, 5]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": "8"}, "context '8' is no number"),
        ({"context": 10**9}, "is no number of tokens"),
        ({"kind": "x"}, "kind 'x' is not one of"),
        ({"chat_template": 5}, "template is no text"),
        ({"tokenizer": None}, "its tokens cannot be read"),
        ({"tokenizer": '{"kind":"byte","tokenizer":"{","settings":{}}'}, "its tokens cannot be"),
    ],
)
def test_the_file_of_a_stranger(change: dict[str, Any], message: str) -> None:
    config = Preprocessing(TOKENIZER, 8).to_config()
    with pytest.raises(DataProblem, match=message):
        Preprocessing.from_config(config | change)
