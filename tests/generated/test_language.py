"""Language models at work: what only whole runs of a generated project show."""

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import project_python
from tests.generated.test_faults import KILLS, environment_of, losses

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow

UNRECORDED = ["--tracking.enabled", "false"]


@pytest.fixture
def language_demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh default project for language models whose package is ``demo``."""
    assert aistart("new", "language-model", "demo", "-y").exit_code == 0
    return isolated / "demo"


def write_chats(file: Path, count: int = 60) -> None:
    """Write chats whose answers follow from the questions."""
    rows = []
    for number in range(count):
        first, second = number % 10, number // 10
        question = {"role": "user", "content": f"What is {first} plus {second}?"}
        answer = {"role": "assistant", "content": f"It is {first + second}."}
        rows.append(json.dumps({"messages": [question, answer]}))
    file.write_text("\n".join(rows), encoding="utf-8")


def read_summaries(demo: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(demo.glob("runs/*/summary.json"))]


@pytest.mark.minutes(2)
def test_adapters_killed_at_random_steps(language_demo: Path) -> None:
    """A run that is killed five times ends with the weights of one that was left alone; its
    checkpoints hold the adapters with their optimizer, and little else."""
    preset = [str(project_python()), "-m", "tests.tiny_presets", "tiny", "qwen3"]
    subprocess.run(preset, cwd=language_demo, check=True, capture_output=True)
    write_chats(language_demo / "chats.jsonl")
    words = ["--data.source", "jsonl", "--data.path", "chats.jsonl", "--model.name", "preset"]
    words += ["--model.preset", "tiny", "--model.tuning", "lora", "--model.context", "48"]
    words += ["--data.batch_size", "8", "--train.epochs", "8", "--train.log_every_steps", "1"]
    words += ["--train.checkpoint_every_steps", "3", "--train.early_stopping_patience", "0"]
    done = subprocess.run(
        [str(project_python()), str(KILLS), "5", *words, *UNRECORDED],
        cwd=language_demo,
        env=environment_of(language_demo),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    alone, killed = result["summaries"]
    assert result["killed"] == 5
    assert result["metrics_agree"]
    assert alone["weights_sha256"] == killed["weights_sha256"]
    checkpoints = sorted((language_demo / "runs" / alone["run_id"]).glob("checkpoints/step-*.npz"))
    with zipfile.ZipFile(checkpoints[-1]) as stored:
        groups = {entry.filename: entry.file_size for entry in stored.infolist()}
    adapters = sum(size for name, size in groups.items() if name.startswith("network/"))
    optimizer = sum(size for name, size in groups.items() if name.startswith("optimizer/"))
    assert 0 < sum(groups.values()) <= 1.2 * (adapters + optimizer)
    network = language_demo / "runs" / alone["run_id"] / "model.keras"
    assert adapters < network.stat().st_size / 4


@pytest.mark.minutes(2)
def test_it_writes_better_than_a_trigram_would(language_demo: Path, run_in: Run) -> None:
    """A third of the default's epochs are enough to be ahead of it."""
    words = ["--train.epochs", "5", "--model.dropout", "0.1", *UNRECORDED]
    done = run_in(language_demo, "demo", "train", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    (summary,) = read_summaries(language_demo)
    assert summary["ahead"]["metric"] == "test/bits_per_byte"
    assert "trigram" in summary["ahead"]["of"]
    assert summary["ahead"]["by"] > 0, summary["ahead"]
    again = run_in(language_demo, "demo", "evaluate")
    assert f"{summary['metrics']['test/bits_per_byte']:.4f}" in again.stdout
    done = run_in(
        language_demo, "demo", "predict", "The with statement", "--max-tokens", "20", "--seed", "1"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_workers_learn_as_one(language_demo: Path, backend: str, run_in: Run) -> None:
    """The loss is that of the global batch's tokens, which the workers have unequally many of."""
    write_chats(language_demo / "chats.jsonl")
    # Batches of 5: one worker fills its share up. Workers of TensorFlow draw dropouts of their own.
    words = ["--data.source", "jsonl", "--data.path", "chats.jsonl", "--data.batch_size", "5"]
    words += ["--data.packing", "false", "--model.context", "64", "--model.layers", "1"]
    words += ["--model.dropout", "0", "--train.max_steps", "6", "--train.log_every_steps", "1"]
    words += UNRECORDED
    launch = ["launch", "--workers", "2", "--"]
    done = run_in(language_demo, "demo", *launch, *words, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    done = run_in(language_demo, "demo", "train", *words, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]
    both, alone = read_summaries(language_demo)
    assert (both["strategy"], both["replicas"], alone["replicas"]) == ("multi_worker", 2, 1)
    expected = losses(language_demo, alone["run_id"])
    assert len(expected) >= 6
    assert losses(language_demo, both["run_id"]) == pytest.approx(expected, rel=1e-5)
    name = "test/bits_per_byte"
    assert both["metrics"][name] == pytest.approx(alone["metrics"][name], rel=1e-4)


def test_preferences_are_learnt_after_chats(language_demo: Path, run_in: Run) -> None:
    write_chats(language_demo / "chats.jsonl", 80)
    words = ["--data.source", "jsonl", "--data.path", "chats.jsonl", "--model.context", "64"]
    words += ["--model.layers", "1", "--train.epochs", "3", "--data.batch_size", "16"]
    done = run_in(language_demo, "demo", "train", *words, *UNRECORDED)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [
        {
            "prompt": f"What is {number % 10} plus {number // 10}?",
            "chosen": f"It is {number % 10 + number // 10}.",
            "rejected": "I do not know.",
        }
        for number in range(80)
    ]
    pairs = language_demo / "preferences.jsonl"
    pairs.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words[3] = "preferences.jsonl"
    words += ["--train.loss", "dpo", "--train.init_from", "latest"]
    done = run_in(language_demo, "demo", "train", *words, *UNRECORDED)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = read_summaries(language_demo)[-1]
    assert summary["metrics"]["test/preference_accuracy"] >= 0.9


def test_extending_guide_of_language_models(language_demo: Path, run_in: Run) -> None:
    from tests.generated.test_projects import blocks, follow

    guide = blocks((language_demo / "docs/extending.md").read_text())
    source = language_demo / "src/demo"
    follow(source / "model.py", "MODELS", *guide["Your own model"])
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    follow(source / "tokens.py", "TOKENIZERS", *guide["Your own tokens"])
    words = ["--model.name", "tiny", "--data.source", "sums", "--data.tokens", "few"]
    words += ["--data.packing", "false", "--train.epochs", "2", *UNRECORDED]
    done = run_in(language_demo, "demo", "train", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    (summary,) = read_summaries(language_demo)
    assert (summary["model"], summary["data"]["source"]) == ("tiny", "sums")
