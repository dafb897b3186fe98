"""Generated projects at work: their own tests, their documentation, their figures."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from aistart.catalog import find_templates
from tests.benchmarks import digits
from tests.environments import COMPILE_QUICKLY, project_python
from tests.generated.servers import PASSWORD, Postgres
from tests.generated.services import make_project

Run = Callable[..., object]
pytestmark = pytest.mark.slow


# Files that name one of these ask for data, models or runs of their own project.
OF_THE_PROJECT = re.compile(
    r"\b(domain|MODELS|QUICK|UNRECORDED|import task)\b"
    r"|\b(fit_alone|project_with_a_run|quick|trained): "
)


@cache
def find_common_tests() -> tuple[str, ...]:
    """Test files beside the engine's that are the same in every project, and ask nothing of it."""
    first, *others = (make_project(name, "--with", "monitor") for name in find_templates())
    common = []
    for file in first.glob("tests/**/test_*.py"):
        path, content = file.relative_to(first), file.read_bytes()
        if path.is_relative_to("tests/engine"):
            continue
        are_the_same = all(
            (other / path).exists() and (other / path).read_bytes() == content for other in others
        )
        if are_the_same and not OF_THE_PROJECT.search(content.decode()):
            common.append(str(path))
    return tuple(sorted(common))


@pytest.mark.minutes(6)
@pytest.mark.parametrize("template", find_templates())
def test_own_tests_pass(template: str, aistart: Callable, isolated: Path, run_in: Run) -> None:
    # With the large models, which a user's `make test` leaves out.
    assert aistart("new", template, template, "-y", "--with", "monitor").exit_code == 0
    left_out = [word for path in find_common_tests() for word in ("--ignore", path)]
    words = ["tests", "--ignore", "tests/engine", *left_out]
    check_own_tests(run_in, isolated / template, *words)


def test_common_tests_pass(aistart: Callable, isolated: Path, run_in: Run) -> None:
    assert aistart("new", "vision-classifier", "demo", "-y", "--with", "monitor").exit_code == 0
    assert len(find_common_tests()) >= 8
    check_own_tests(run_in, isolated / "demo", *find_common_tests())


@pytest.mark.minutes(4)
@pytest.mark.parametrize("tests", ["tests/engine", "tests/test_tune.py"])
def test_what_is_the_same_in_every_project(
    tests: str, aistart: Callable, isolated: Path, run_in: Run
) -> None:
    assert aistart("new", "vision-classifier", "demo", "-y", "--with", "tune").exit_code == 0
    check_own_tests(run_in, isolated / "demo", tests)


def check_own_tests(run_in: Run, project: Path, *words: str) -> None:
    done = run_in(project, "pytest", "-q", "-m", "", "-p", "no:cacheprovider", *words)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_two_commands_of_a_user(demo: Path, run_in: Run, isolated: Path) -> None:
    """Smoke training, then evaluation and prediction from another process."""
    done = run_in(demo, "demo", "train", "--config", "configs/smoke.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Run folder: " in done.stdout
    assert "logistic regression" in done.stdout
    (run,) = (demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["template"] == "vision-classifier"
    assert summary["metrics"].keys() >= {"test/accuracy", "test/loss", "test/macro_f1"}
    again = run_in(demo, "demo", "evaluate", "--run", summary["mlflow"]["model_uri"])
    assert f"test/accuracy  {summary['metrics']['test/accuracy']:.4f}\n" in again.stdout
    missing = run_in(demo, "demo", "predict", "missing.png")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert missing.stderr == "error: input: 'missing.png': No such file or directory.\n"


def test_interrupt_is_one_line_and_the_same_command_goes_on(demo: Path, run_in: Run) -> None:
    words = ["--train.epochs", "2000", "--train.early_stopping_patience", "0"]
    command = [str(project_python()), "-m", "demo", "train", *words]
    environment = {**os.environ, "PYTHONPATH": str(demo / "src")}
    for number in (signal.SIGINT, signal.SIGTERM):
        lines = len(metrics(demo))
        with subprocess.Popen(
            command,
            cwd=demo,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            deadline = time.monotonic() + 300
            while len(metrics(demo)) < lines + 3 and time.monotonic() < deadline:
                time.sleep(0.2)
            process.send_signal(number)
            began = time.monotonic()
            shown, errors = process.communicate(timeout=300)
            assert time.monotonic() - began < 30
        assert process.returncode == 75
        message = rf"stopped by {number.name} at step \d+; the same command resumes there\."
        assert re.fullmatch(f"error: {message}\n", errors)
    (run,) = (demo / "runs").iterdir()
    assert f"Run {run.name} resumes after step " in shown


def metrics(demo: Path) -> list[str]:
    files = list(demo.glob("runs/*/metrics.jsonl"))
    return files[0].read_text().splitlines() if files else []


def blocks(guide: str) -> dict[str, list[str]]:
    """The code of each section of a guide."""
    sections = re.split(r"^## ", guide, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        for section in sections
    }


def follow(file: Path, table: str, function: str, line: str) -> None:
    """Do as the guide says: a function at the end of a file, and a line in the table."""
    with file.open("a") as opened:
        opened.write("\n\n" + function)
    registry = file.with_name("registry.py")
    text = registry.read_text()
    end = text.index("\n}\n", re.search(rf"^{table}: ", text, re.MULTILINE).start()) + 1
    registry.write_text(text[:end] + line + text[end:])


def test_extending_guide(demo: Path, run_in: Run) -> None:
    guide = blocks((demo / "docs/extending.md").read_text())
    source = demo / "src/demo"
    model, line, network, its_line = guide["Your own model"]
    follow(source / "model.py", "MODELS", model + "\n\n" + network, line + its_line)
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    summary = extended(demo, run_in, guide, "noise")
    assert summary["data"]["classes"] == {"bright": 30, "dark": 30}
    words = ["--model.name", "mobilenetv2", "--model.weights", "none", "--train.max_steps", "1"]
    done = run_in(demo, "demo", "train", *words, "--data.limit", "60", "--data.source", "noise")
    assert done.returncode == 0, done.stderr


def test_extending_guide_of_texts(text_demo: Path, run_in: Run) -> None:
    guide = blocks((text_demo / "docs/extending.md").read_text())
    source = text_demo / "src/demo"
    follow(source / "model.py", "MODELS", *guide["Your own model"])
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    follow(source / "tokens.py", "TOKENIZERS", *guide["Your own tokeniser"])
    summary = extended(text_demo, run_in, guide, "numbers")
    assert summary["data"]["classes"] == {"even": 60, "odd": 60}
    words = ["--data.tokenizer", "lines", "--train.max_steps", "1"]
    done = run_in(text_demo, "demo", "train", *words, "--data.source", "tickets")
    assert done.returncode == 0, done.stderr


def test_extending_guide_of_events(shop_demo: Path, run_in: Run) -> None:
    guide = blocks((shop_demo / "docs/extending.md").read_text())
    source = shop_demo / "src/demo"
    network, *model = guide["Your own model"]
    with (source / "networks/layers.py").open("a") as file:
        file.write("\n\n" + network)
    follow(source / "model.py", "MODELS", *model)
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    words = ["--model.name", "last_item", "--data.source", "circles", "--train.epochs", "20"]
    done = run_in(shop_demo, "demo", "train", *words, "--data.batch_size", "8")
    assert done.returncode == 0, done.stderr
    (run,) = (shop_demo / "runs").iterdir()
    # What comes next is certain, and popularity does not know it.
    assert json.loads((run / "summary.json").read_text())["metrics"]["test/ndcg_at_10"] > 0.9


EVENTS = """
import sys

import psycopg
from demo import data
from demo.config import DataConfig

log = data.load_shop(DataConfig()).interactions
moments = log.times.astype("datetime64[s]").astype(str)
rows = zip(log.user_ids[log.users], log.item_ids[log.items], moments, strict=True)
with psycopg.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("create table events (who text, what text, moment timestamp)")
    with cursor.copy("copy events from stdin") as copy:
        for row in rows:
            copy.write_row(row)
"""


def test_events_from_postgresql(shop_demo: Path, run_in: Run, postgres: Postgres) -> None:
    """A query gives the same events as the source that they came from; its password is not kept."""
    environment = {**os.environ, "PYTHONPATH": str(shop_demo / "src")}
    command = [str(project_python()), "-c", EVENTS, postgres.uri]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    uri = postgres.uri.replace("postgresql:", "postgresql+psycopg:")
    query = "select who as user, what as item, moment as timestamp from events"
    words = ["--data.source", "sql", "--data.query", query, "--model.name", "mf"]
    words += ["--train.max_steps", "20", "--tracking.enabled", "false"]
    done = run_in(shop_demo, "demo", "train", *words, APP__DATA__PATH=uri)
    assert done.returncode == 0, done.stderr
    (run,) = (shop_demo / "runs").iterdir()
    noted = json.loads((run / "summary.json").read_text())["data"]
    done = run_in(shop_demo, "demo", "train", *words[4:])
    assert done.returncode == 0, done.stderr
    (other,) = set((shop_demo / "runs").iterdir()) - {run}
    generated = json.loads((other / "summary.json").read_text())["data"]
    sizes = ("train", "validation", "test")
    for name in ("users", "items", "interactions", "train_interactions", *sizes):
        assert noted[name] == generated[name], name
    files = (file for file in shop_demo.rglob("*") if file.is_file())
    assert [file for file in files if PASSWORD.encode() in file.read_bytes()] == []
    user, answer = "u0001", ["--top-k", "3", "--json", "--run", run.name]
    done = run_in(shop_demo, "demo", "predict", "--user", user, *answer, APP__DATA__PATH=uri)
    assert len(json.loads(done.stdout)["scores"]) == 3, done.stderr


PATIENTS = """
import sys

import psycopg
from demo.datasets.cohort import COLUMNS, generate

frame = generate(300).frame
with psycopg.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute(f"create table visits ({', '.join(f'{name} text' for name in COLUMNS)})")
    with cursor.copy("copy visits from stdin") as copy:
        for row in frame.itertuples(index=False):
            copy.write_row([None if value != value else value for value in row])
"""
SCHEMA = """
from pathlib import Path

from demo.datasets.cohort import COLUMNS
from demo.datasets.schema import Schema

schema = Schema(reviewed_by="a doctor", columns=COLUMNS)
Path("schema.yaml").write_text(schema.to_yaml(), encoding="utf-8")
"""


def test_patients_from_postgresql(clinic_demo: Path, run_in: Run, postgres: Postgres) -> None:
    environment = {**os.environ, "PYTHONPATH": str(clinic_demo / "src")}
    for code in (PATIENTS, SCHEMA):
        command = [str(project_python()), "-c", code, postgres.uri]
        subprocess.run(command, env=environment, cwd=clinic_demo, check=True, capture_output=True)
    uri = postgres.uri.replace("postgresql:", "postgresql+psycopg:")
    words = ["--data.source", "sql", "--data.query", "select * from visits"]
    words += ["--data.schema_file", "schema.yaml", "--train.max_steps", "20"]
    words += ["--tracking.enabled", "false"]
    done = run_in(clinic_demo, "demo", "train", *words, APP__DATA__PATH=uri)
    assert done.returncode == 0, done.stderr
    (run,) = (clinic_demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert sum(summary["data"]["patients"].values()) == 300
    files = (file for file in clinic_demo.rglob("*") if file.is_file())
    assert [file for file in files if PASSWORD.encode() in file.read_bytes()] == []


def test_extending_guide_of_patients(clinic_demo: Path, run_in: Run) -> None:
    guide = blocks((clinic_demo / "docs/extending.md").read_text())
    source = clinic_demo / "src/demo"
    follow(source / "model.py", "MODELS", *guide["Your own model"])
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    words = ["--model.name", "shallow", "--data.source", "coins", "--train.epochs", "5"]
    done = run_in(clinic_demo, "demo", "train", *words)
    assert done.returncode == 0, done.stderr
    (run,) = (clinic_demo / "runs").iterdir()
    assert json.loads((run / "summary.json").read_text())["metrics"]["test/auroc"] > 0.7


def test_risks_are_as_good_as_the_readme_says(clinic_demo: Path, run_in: Run) -> None:
    done = run_in(clinic_demo, "demo", "train", "--tracking.enabled", "false")
    assert done.returncode == 0, done.stderr
    (run,) = (clinic_demo / "runs").iterdir()
    assert json.loads((run / "summary.json").read_text())["metrics"]["test/auroc"] >= 0.99
    words = ["--data.source", "cohort", "--tracking.enabled", "false"]
    done = run_in(clinic_demo, "demo", "train", *words)
    assert done.returncode == 0, done.stderr
    (other,) = set((clinic_demo / "runs").iterdir()) - {run}
    summary = json.loads((other / "summary.json").read_text())
    assert summary["metrics"]["test/true_risk_correlation"] >= 0.9
    best = summary["data"]["best_reachable_auroc"]
    assert best - 0.05 < summary["metrics"]["test/auroc"] < best + 0.02


def extended(demo: Path, run_in: Run, guide: dict[str, list[str]], data: str) -> dict:
    """Train with the guide's loss, metric, model and data; the run's summary."""
    source = demo / "src/demo"
    follow(source / "objective.py", "LOSSES", *guide["Your own loss"])
    follow(source / "objective.py", "METRICS", *guide["Your own metric"])
    names = ["--model.name", "tiny", "--data.source", data, "--train.loss", "hinge"]
    done = run_in(demo, "demo", "train", *names, "--train.epochs", "3")
    assert done.returncode == 0, done.stderr
    (run,) = (demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["model"], summary["data"]["source"]) == ("tiny", data)
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    assert {"train/top_2", "validation/top_2"} <= set(json.loads(last)["metrics"])
    return summary


TINY_PRESET = """
import keras_hub

vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
sizes = {"vocabulary_size": len(vocabulary), "max_sequence_length": 64}
sizes |= {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
keras_hub.models.BertBackbone(**sizes).save_to_preset("tiny")
keras_hub.tokenizers.BertTokenizer(vocabulary=vocabulary).save_to_preset("tiny")
"""
# Models that need no download, with the words that each needs besides its name.
WORDS_OF_MODELS = """
import sys
from pathlib import Path

from demo import model
from demo.engine.lookup import find
from demo.registry import MODELS

preset = getattr(model, "PresetModel", ())
words = {name: [] for name in MODELS if not isinstance(find(MODELS, name), preset)}
if Path("tiny").exists():
    words["preset"] = ["--model.preset", "tiny"]
"""
# In a process of its own: devices are divided before TensorFlow is used. The first model has
# baselines and reports too; the others would only repeat them.
EVERY_MODEL = f"""{WORDS_OF_MODELS}
from dataclasses import replace

from demo import train as training
from demo.__main__ import train as main
from demo.engine.interfaces import draw_nothing, no_baselines, write_nothing

for name, own in words.items():
    assert main([*sys.argv[1:], "--model.name", name, *own]) == 0, name
    training.call_hooks_at_end = lambda *arguments: None
    training.task = replace(
        training.task,
        draw_figures=draw_nothing,
        measure_baselines=no_baselines,
        write_report=write_nothing,
    )
"""


@pytest.mark.minutes(3)
@pytest.mark.parametrize("template", ["text-classifier", "recommender", "medical-diagnosis"])
@pytest.mark.parametrize("strategy", ["mirrored", "data_parallel", "model_parallel"])
def test_every_model_on_several_devices(
    strategy: str, template: str, aistart: Callable, isolated: Path
) -> None:
    assert aistart("new", template, "demo", "-y").exit_code == 0
    words = ["--runtime.strategy", strategy, "--runtime.virtual_devices", "2"]
    words += ["--data.limit", "200", "--train.max_steps", "3", "--tracking.enabled", "false"]
    backend = "tensorflow" if strategy == "mirrored" else "jax"
    demo = isolated / "demo"
    environment = {"PYTHONPATH": str(demo / "src"), "KERAS_BACKEND": backend}
    if template == "recommender":  # one program for all lengths
        words += ["--data.max_history", "4", "--data.batch_size", "256", "--model.num_blocks", "1"]
    if template == "text-classifier":
        preset = [str(project_python()), "-c", TINY_PRESET]
        subprocess.run(preset, cwd=demo, check=True, capture_output=True)
    done = subprocess.run(
        [str(project_python()), "-c", EVERY_MODEL, *words],
        cwd=demo,
        env={**os.environ, **environment, **COMPILE_QUICKLY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summaries = [json.loads(file.read_text()) for file in (demo / "runs").glob("*/summary.json")]
    assert {summary["strategy"] for summary in summaries} == {strategy}
    assert len({summary["model"] for summary in summaries}) == len(summaries) >= 4


# The network alone: baselines and reports, which no precision changes, would take minutes.
HALF_PRECISION = (
    WORDS_OF_MODELS
    + """
import numpy as np

from demo.config import load_config
from demo.engine import loop
from demo.engine.artifact import Artifact
from demo.engine.runs import start_run
from demo.engine.strategy import connect
from demo.task import task

for name, own in words.items():
    for precision in ("mixed_bfloat16", "mixed_float16"):
        given = ["--model.name", name, "--runtime.precision", precision, *own]
        config = load_config([*sys.argv[1:], *given])
        data = task.load(config, None)
        preprocessing = task.preprocessing.fit(data.train, config)
        strategy = connect(config.runtime, task.sharding_rules)
        network = loop.build(task, config, preprocessing, strategy)
        run, lock = start_run(config)
        assert loop.fit(task, network, data, preprocessing, config, strategy, run).steps == 1
        trained = task.finalize(Artifact(network, preprocessing, task), data, config)
        outputs = trained(data.test.fetch(np.arange(4)))
        assert outputs.dtype == "float32", (name, precision, outputs.dtype)
        assert np.isfinite(outputs).all(), (name, precision)
        print(name, precision)
"""
)


@pytest.mark.minutes(2)
@pytest.mark.parametrize("template", find_templates())
def test_every_model_in_half_precision(template: str, aistart: Callable, isolated: Path) -> None:
    assert aistart("new", template, "demo", "-y").exit_code == 0
    demo = isolated / "demo"
    words = ["--train.max_steps", "1", "--data.limit", "60", "--data.batch_size", "16"]
    if template == "vision-classifier":
        words += ["--data.image_size", "32", "--model.weights", "none"]
    if template == "recommender":
        words += ["--data.max_history", "4", "--model.num_blocks", "1"]
    if template == "text-classifier":
        preset = [str(project_python()), "-c", TINY_PRESET]
        subprocess.run(preset, cwd=demo, check=True, capture_output=True)
    if template == "language-model":
        words += ["--model.context", "32"]
        preset = [str(project_python()), "-m", "tests.tiny_presets", "tiny"]
        subprocess.run(preset, cwd=demo, check=True, capture_output=True)
    done = subprocess.run(
        [str(project_python()), "-c", HALF_PRECISION, *words],
        cwd=demo,
        env={**os.environ, "PYTHONPATH": str(demo / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) >= 6


def test_tickets_beat_the_baseline(text_demo: Path, run_in: Run) -> None:
    done = run_in(text_demo, "demo", "train", "--train.epochs", "8")
    assert done.returncode == 0, done.stderr
    (run,) = (text_demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["ahead"]["of"] == "TF-IDF, logistic regression"
    assert summary["ahead"]["by"] > 0.01
    assert summary["metrics"]["test/accuracy"] <= summary["data"]["best_reachable_accuracy"] + 0.01
    answer = run_in(
        text_demo, "demo", "predict", "--json", "My parcel never arrived", "I can't log in"
    )
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [row["prediction"] for row in rows] == ["delivery", "login"]


@pytest.mark.parametrize(("model", "least"), digits.LEAST.items())
def test_digits_are_read_as_well_as_the_readme_says(model: str, least: float, demo: Path) -> None:
    result = digits.measure(demo, model)
    assert result.accuracy >= least
    assert result.accuracy > result.baseline
