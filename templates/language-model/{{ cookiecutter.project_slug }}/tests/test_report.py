"""Metrics, figures and samples of a language model."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import report
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets.store import TokenSplit
from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.engine.figures import read_description
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.evaluation import copied, lm_eval, monitoring, samples
from {{ cookiecutter.package_name }}.evaluation.answers import chrf, exact_match
from {{ cookiecutter.package_name }}.evaluation.positions import measure_positions
from {{ cookiecutter.package_name }}.evaluation.scores import score_rows
from {{ cookiecutter.package_name }}.inputs import read_requests
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


@pytest.fixture
def texts(own_folder: Path) -> tuple[DatasetSplits, Preprocessing]:
    """Rows of texts of bytes, several in a row."""
    rows = [{"text": f"Box {n} has {n * 7} blue and {n * 3} red balls."} for n in range(60)]
    return read(rows, ["--data.tokens", "byte", "--model.context", "64"])


@pytest.fixture
def chats(own_folder: Path) -> tuple[DatasetSplits, Preprocessing]:
    """Chats of a question and an answer each."""
    rows = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}."} for n in range(60)]
    return read(rows, ["--data.tokens", "byte", "--model.context", "64"])


def read(rows: list[dict], words: list[str]) -> tuple[DatasetSplits, Preprocessing]:
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = load_config(["--data.source", "jsonl", "--data.path", "rows.jsonl", *words])
    data = load(config)
    return data, Preprocessing.fit(data.train, config)


def make_pairs(split: TokenSplit, reference: np.ndarray) -> TokenSplit:
    """Return rows as pairs whose answers are the same, with a reference."""
    fetch = split.fetch

    def fetch_pairs(positions):
        import tensorflow as tf

        return {name: tf.stack([part, part], -1) for name, part in fetch(positions).items()}

    return replace(split, fetch=fetch_pairs, kind="pairs").with_reference(reference)


def uniform(split: TokenSplit) -> np.ndarray:
    """Return outputs of a model to which all tokens are equally likely."""
    outputs = np.zeros((len(split), split.context, 2), "float32")
    outputs[..., 0] = -math.log(256)
    return outputs


# === Metrics ===


def test_eight_bits_a_byte_for_who_knows_nothing(texts) -> None:
    data, preprocessing = texts
    found = report.measure(data.test, uniform(data.test), preprocessing)
    assert next(iter(found)) == "bits_per_byte"
    assert set(report.LOWER_IS_BETTER) <= set(found)
    assert found["perplexity"] == pytest.approx(256, rel=1e-4)
    rows = data.test.read_rows(np.arange(len(data.test)))
    predicted = rows["weights"].sum()
    expected = 8 * predicted / data.test.bytes_per_row.sum()  # ends of texts have no bytes
    assert found["bits_per_byte"] == pytest.approx(expected, rel=1e-4)
    assert found["accuracy"] == 0


def test_tokens_without_weight_do_not_count(texts) -> None:
    data, preprocessing = texts
    outputs = uniform(data.test)
    before = report.measure(data.test, outputs, preprocessing)
    weights = data.test.read_rows(np.arange(len(data.test)))["weights"][:, 1:]
    outputs[weights == 0] = (-np.inf, 1.0)
    assert report.measure(data.test, outputs, preprocessing) == before


def test_metrics_of_weighted_rows_are_those_of_the_rows(texts) -> None:
    data, preprocessing = texts
    random = np.random.default_rng(0)
    outputs = uniform(data.test)
    outputs[..., 0] = -random.exponential(3, outputs.shape[:2])
    outputs[..., 1] = random.integers(0, 2, outputs.shape[:2])
    metrics = report.weighted_metrics(data.test, outputs, preprocessing)
    twice = np.zeros((1, len(data.test)))
    twice[0, 1] = 2
    part = report.measure(data.test.take(np.array([1, 1])), outputs[[1, 1]], preprocessing)
    for name, metric in metrics.items():
        assert metric.compute(twice)[0] == pytest.approx(part[name])
        assert metric.lower_is_better == (name in report.LOWER_IS_BETTER)


def test_pairs_that_gained_count(chats) -> None:
    split = chats[0].test
    count = len(split)
    pairs = make_pairs(split, np.full((count, 2), -10.0))
    preprocessing = replace(chats[1], kind="pairs")
    outputs = np.full((count, 2), -10.0)
    found = report.measure(pairs, outputs, preprocessing)
    assert found == {"preference_accuracy": 0.5, "margin": 0.0}
    outputs[:, 0] += 2
    outputs[0] = (-12.0, -10.0)
    found = report.measure(pairs, outputs, preprocessing)
    assert list(found) == ["preference_accuracy", "margin"]
    assert found["preference_accuracy"] == pytest.approx((count - 1) / count)
    assert found["margin"] == pytest.approx((2 * (count - 1) - 2) / count)


# === Figures and tables ===


def test_figures_and_tables_of_texts(texts, tmp_path: Path) -> None:
    data, preprocessing = texts
    outputs = uniform(data.test)
    outputs[3, :, 0] = -9.0
    report.draw(tmp_path, "test", data.test, outputs, preprocessing)
    for name in ("test_positions.svg", "test_rows.svg"):
        assert len(read_description(tmp_path / name)) > 40
    with (tmp_path / "test_mistakes.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["id"] == data.test.ids[3]
    assert "balls" in first["text"]


def test_figures_and_tables_of_pairs(chats, tmp_path: Path) -> None:
    split = chats[0].test
    pairs = make_pairs(split, np.zeros((len(split), 2)))
    outputs = np.zeros((len(split), 2))
    outputs[2] = (-3.0, 1.0)
    report.draw(tmp_path, "test", pairs, outputs, replace(chats[1], kind="pairs"))
    assert "preferred" in read_description(tmp_path / "test_margins.svg")
    with (tmp_path / "test_mistakes.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["id"], row["margin"]) == (split.ids[2], "-4.0000")


def test_loss_by_position_counts_from_the_beginning_of_each_text(texts) -> None:
    split = texts[0].train
    outputs = uniform(split)
    rows = split.read_rows(np.arange(len(split)))
    begins = np.diff(rows["segments"], axis=1) != 0  # of column 1 on
    second = np.zeros(outputs.shape[:2], bool)
    second[:, 1:] = begins[:, :-1]
    second[:, 0] = True  # the token after the first one of a row
    outputs[second, 0] = -math.log(2)
    bands = measure_positions(split, outputs)
    assert bands[0][:2] == (1, 1)
    assert bands[0][3] == pytest.approx(1, abs=0.01)
    assert all(band[3] == pytest.approx(8, abs=0.01) for band in bands[1:])
    counted = score_rows(split, outputs).tokens.sum()
    assert sum(band[2] for band in bands) <= counted


# === Answers, samples, copies ===


def test_exact_match_and_chrf() -> None:
    assert exact_match(["a  b\n", "c"], ["a b", "d"]) == 0.5
    assert chrf(["same"], ["same"]) == pytest.approx(100)
    assert chrf(["abc"], ["xyz"]) == 0
    # As sacrebleu 2.6.0 computes them.
    assert chrf(["the cat sat"], ["the cat sat on the mat"]) == pytest.approx(49.593484, abs=1e-5)
    answers, references = ["a", "hello world", "你好 世界"], ["b", "hello word", "你好世界吗"]
    assert chrf(answers, references) == pytest.approx(77.264581, abs=1e-5)


def test_copied_ngrams_are_found_and_do_not_cross_texts(texts) -> None:
    train = texts[0].train
    rows = train.read_rows(np.arange(1))
    tokens, segments = rows["tokens"][0], rows["segments"][0]
    inside = tokens[segments == 1][:20].tolist()
    assert copied.measure_copied([inside, [9] * 20, inside[:3]], train, 8)[:2] == [1.0, 0.0]
    assert math.isnan(copied.measure_copied([inside[:3]], train, 8)[0])
    edge = int((segments == 1).sum())
    across = tokens[edge - 4 : edge + 4].tolist()
    assert copied.measure_copied([across], train, 8) == [0.0]
    assert copied.choose_n(train) > 8, "a byte is no word"


def test_prompts_of_texts_and_of_chats(texts, chats) -> None:
    prompts = samples.select_prompts(texts[0].test, 3)
    assert len(prompts) == 3
    assert all(0 < len(prompt.ids) <= 32 for prompt in prompts)
    split = chats[0].test
    tokenizer = split.tokenizer
    for prompt in samples.select_prompts(split, 3):
        assert tokenizer.decode(prompt.ids, skip_special=False).endswith("<assistant>")
        answer = tokenizer.decode(prompt.reference)
        assert answer.startswith("It is ")
        assert answer.endswith(".")
        assert prompt.reference[-1] == tokenizer.end_id


def test_samples_are_written(chats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = chats

    def answer(model, prompts, ways, max_tokens, seconds):
        texts = [data.test.tokenizer.decode(prompt.reference) for prompt in prompts]
        made = zip(prompts, ["<b>no</b>|", *texts[1:]], strict=True)
        return [samples.Sample(p, "greedy", t, data.test.tokenizer.encode(t)) for p, t in made]

    monkeypatch.setattr(samples, "write_texts", answer)
    summary: dict = {"metrics": {"test/bits_per_byte": 1.0}}
    report.write(tmp_path, None, data, summary, load_config([]))
    facts = json.loads((tmp_path / "samples.json").read_text())
    count = facts["texts"]
    assert summary["metrics"]["test/exact_match"] == pytest.approx((count - 1) / count)
    assert 0 < summary["metrics"]["test/chrf"] < 100
    assert "    <b>no</b>|\n" in (tmp_path / "samples.md").read_text()
    assert (tmp_path / "test_examples.csv").read_text().startswith("id,prompt,way,written,refer")


# === Monitoring, and lm-eval ===


def test_inputs_are_described_without_their_words(texts) -> None:
    data, preprocessing = texts
    found = monitoring.describe_inputs(data.test, preprocessing)
    assert all(column.shape == (len(data.test),) for column in found.values())
    assert found["bytes a token"] == pytest.approx(1)
    assert not found["non-Latin letters"].any()
    assert found["digits"].mean() > 0.05
    empty = monitoring.describe_inputs(data.test.take(np.zeros(0, int)), preprocessing)
    assert set(empty) == set(found)


def test_requests_are_described_as_rows_are(chats) -> None:
    preprocessing = chats[1]
    rows = [{"prompt": "Привет 12"}, {"messages": [{"role": "user", "content": "Hi you"}]}, {}]
    requests = read_requests(rows, preprocessing, None)
    assert set(requests.problems) == {2}
    found = monitoring.describe_inputs(requests.split, preprocessing)
    assert set(found) == set(monitoring.describe_inputs(chats[0].test, preprocessing))
    assert found["non-Latin letters"].tolist() == [6 / 9, 0.0]
    assert found["digits"].tolist() == [2 / 9, 0.0]


def test_lm_eval_reads_an_exported_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"has no config\.json; write one with export"):
        lm_eval.make_command(tmp_path, ["hellaswag"])
    for name in lm_eval.FILES:
        (tmp_path / name).touch()
    words = lm_eval.make_command(tmp_path, ["hellaswag", "arc_easy"], limit=5)
    assert words[:3] == ["lm_eval", "--model", "hf"]
    assert words[words.index("--tasks") + 1] == "hellaswag,arc_easy"
    with pytest.raises(UsageProblem, match="--tasks: expected names"):
        lm_eval.make_command(tmp_path, [])


def test_lm_eval_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in lm_eval.FILES:
        (tmp_path / name).touch()
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(ProjectError, match="lm-eval is not installed: pip install"):
        lm_eval.evaluate(tmp_path, ["hellaswag"])
