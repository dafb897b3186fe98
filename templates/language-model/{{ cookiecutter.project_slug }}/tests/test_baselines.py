"""Frequencies are probabilities, and the more a baseline sees, the better it predicts."""

import json
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import baselines, objective
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


@pytest.fixture
def data(own_folder: Path) -> DatasetSplits:
    text = "\n".join(f"{n} men went to mow, went to mow a meadow" for n in range(200))
    (own_folder / "t.txt").write_text(text)
    words = ["--data.source", "text", "--data.path", "t.txt", "--data.tokens", "byte"]
    return load(load_config([*words, "--model.context", "12"], environment={}))


def test_probabilities_sum_to_one_and_the_best_is_the_likeliest(data: DatasetSplits) -> None:
    model = baselines.count(data.train, data.validation)
    every = np.arange(model.size)
    random = np.random.default_rng(0)
    unseen = random.integers(0, model.size, (50, 2))
    seen = model.trigram.contexts[::5]
    seen = np.stack(np.divmod(seen, model.size), axis=1)
    for before in np.concatenate([unseen, seen]):
        for order in (1, 3):
            repeated = np.tile(before, (model.size, 1))
            probabilities = model.probability(repeated, every, order)
            assert probabilities.sum() == pytest.approx(1, abs=1e-6)
            assert probabilities.min() >= 0
            best = model.best(before[None], order)[0]
            assert probabilities[best] == pytest.approx(probabilities.max())


def test_rows_and_outputs(data: DatasetSplits) -> None:
    config = load_config([], environment={})
    preprocessing = Preprocessing.fit(data.train, config)
    unigram, trigram = baselines.measure(data, preprocessing, config)
    assert [unigram["name"], trigram["name"]] == ["unigram", "trigram"]
    assert unigram["metrics"]["test/bits_per_byte"] > 2 * trigram["metrics"]["test/bits_per_byte"]
    assert trigram["metrics"]["test/accuracy"] > 0.5 > unigram["metrics"]["test/accuracy"]
    rows = data.test.read_rows(np.arange(len(data.test)))
    for row in (unigram, trigram):
        outputs = row["outputs"]
        assert outputs.shape == (len(data.test), 12, 2)
        predicted = rows["weights"][:, 1:] > 0
        assert (outputs[..., 0][predicted] < 0).all()
        assert (outputs[..., 0][~predicted] == 0).all()
    again = baselines.measure(data, preprocessing, config)
    np.testing.assert_array_equal(again[1]["outputs"], trigram["outputs"])


def test_many_tokens_are_sampled(data: DatasetSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_TOKENS", 1_000)
    model = baselines.count(data.train, data.validation)
    assert 700 < model.trigram.counts.sum() < 1_300


def test_of_pairs_the_length_decides(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"prompt": f"number {n}?", "chosen": "x" * (n % 7 + 1), "rejected": f"{n} " * 20}
        for n in range(30)
    ]
    (own_folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reference = np.arange(2.0)
    monkeypatch.setattr(
        objective, "measure_reference", lambda config, split: np.tile(reference, (len(split), 1))
    )
    words = ["--data.source", "jsonl", "--data.path", "t.jsonl", "--train.loss", "dpo"]
    config = load_config([*words, "--data.tokens", "byte"], environment={})
    data = load(config)
    [row] = baselines.measure(data, Preprocessing.fit(data.train, config), config)
    assert row["name"] == "the shorter answer"
    assert row["outputs"].shape == (len(data.test), 2)
    assert row["metrics"]["test/preference_accuracy"] == 1


def test_context_ends_where_a_segment_begins() -> None:
    rows = {
        "tokens": np.array([[5, 6, 7, 8, 9, 0]]),
        "segments": np.array([[1, 1, 1, 2, 2, 0]]),
        "weights": np.array([[0, 1, 1, 0, 1, 0.0]]),
    }
    before, tokens, places = baselines._select(rows, size=100)
    assert before.tolist() == [[99, 5], [5, 6], [99, 8]]
    assert tokens.tolist() == [6, 7, 9]
    assert places[1].tolist() == [1, 2, 4]
