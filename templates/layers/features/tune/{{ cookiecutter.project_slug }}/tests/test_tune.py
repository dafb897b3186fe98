"""The search for better settings: its space, and studies whose trials are a script of seconds."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

pytest.importorskip("optuna", reason="the extra 'tune' is not installed")

from {{ cookiecutter.package_name }} import __main__ as package
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import config_loader
from {{ cookiecutter.package_name }}.engine.config_fields import Section
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run
from {{ cookiecutter.package_name }}.engine.tune import command, parent_run, worker
from {{ cookiecutter.package_name }}.engine.tune import space as spaces
from {{ cookiecutter.package_name }}.engine.tune import study as studies
from {{ cookiecutter.package_name }}.engine.tune import trial as trials
from {{ cookiecutter.package_name }}.engine.tune.space import SearchSpace, read_space
from {{ cookiecutter.package_name }}.engine.tune.trial import Epoch, read_best_value

from .conftest import UNRECORDED

PROJECT = Path(package.__file__).parents[2]
GOAL = "validation/loss"
SPACE = {
    "warmup_epochs": 2,
    "space": {
        "train.learning_rate": {"low": 1e-4, "high": 0.1, "log": True, "default": 0.01},
        "train.momentum": {"low": 0.0, "high": 0.9, "step": 0.1},
        "data.batch_size": [16, 32, 64],
    },
}
WORDS = ("--tracking.enabled", "false", "--data.batch_size", "32")
# Behaves as ``train`` does, towards whoever looks at its folder, signals and exit code: the loss
# falls with the epochs and is lowest at a learning rate of 0.003. Arguments: the plan (number of a
# trial -> what goes wrong), seconds of an epoch, words of the command line.
FAKE = """
import json, os, secrets, signal, sys, time
from math import log10
from pathlib import Path

plan, pause, words = json.loads(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
tags = json.loads(os.environ["MLFLOW_RUN_CONTEXT"])
trouble = plan.get(tags["tune.trial"])
assert "validation" in words
rate = float(words[len(words) - words[::-1].index("--train.learning_rate")])
resumed = words[-1] != "--fresh"
folder = Path("runs") / (words[-1] if resumed else time.strftime("%H%M%S-") + secrets.token_hex(4))
folder.mkdir(parents=True, exist_ok=True)

def write(name, value):
    (folder / "new").write_text(json.dumps(value))
    (folder / "new").replace(folder / name)

def leave(number, frame):
    print("error: stopped by SIGTERM.")
    os._exit(75)

signal.signal(signal.SIGTERM, leave)
print("started")
if trouble == "crash":
    print("error: not enough device memory.")
    sys.exit(1)
if trouble == "refuse":
    print("error: --resume: it was configured with the backend 'jax', not 'tensorflow'.")
    sys.exit(2)
if not resumed:
    digest = "other" if trouble == "other data" else "same"
    write("record.json", {"digest": digest, "tags": tags})
    write("config.yaml", {})
log = folder / "metrics.jsonl"
done = len(log.read_text().splitlines()) if log.is_file() else 0
for epoch in range(done + 1, 7):
    while trouble == "hang" and epoch == 3:
        signal.pause()
    if trouble == "diverge" and epoch == 4:
        print("error: training diverged: the loss is nan at step 4")
        sys.exit(4)
    if trouble == "kill" and epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(pause)
    loss = abs(log10(rate) + 2.5) + 1.0 / epoch
    metrics = {"validation/loss": loss, "validation/accuracy": 1.0 - loss}
    with log.open("a") as lines:
        lines.write(json.dumps({"epoch": epoch, "step": epoch, "metrics": metrics}) + chr(10))
write("summary.json", {"metrics": {"validation/accuracy": 1.0 - loss}, "mlflow": None})
"""
# ``tune`` in a process of its own with such trials. Arguments: plan, pause, words.
TUNE = """
import subprocess, sys
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.engine.tune import study, trial
from tests.test_tune import fake_process

study.HEARTBEAT, study.GRACE = 1, 3
trial.start_process = fake_process(sys.argv[1], sys.argv[2])
sys.exit(program.main(["tune", *sys.argv[3:]]))
"""


def fake_process(plan: str, pause: str) -> Callable[..., Any]:
    """Return what starts ``FAKE`` in the place of ``train``."""

    def start(words: Any, tags: Any, output: Any) -> Any:
        return subprocess.Popen(
            [sys.executable, "-c", FAKE, plan, pause, *words],
            env={**os.environ, "MLFLOW_RUN_CONTEXT": json.dumps(tags)},
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=trials.end_with_parent,
        )

    return start


@pytest.fixture
def search(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``search(*words, plan={3: "crash"})`` searches ``SPACE`` and returns the exit code."""
    write_space(SPACE)

    def run(*words: str, plan: dict[int, str] | None = None, pause: float = 0.0) -> int:
        start = fake_process(json.dumps(plan or {}), str(pause))
        monkeypatch.setattr(trials, "start_process", start)
        return program.main(["tune", *WORDS, *words])

    monkeypatch.setattr(worker, "POLL", 0.02)
    monkeypatch.setattr(worker, "WAIT", 0.1)
    return run


def write_space(content: Any) -> Path:
    file = Path("configs") / "search.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    return file


def rows() -> list[dict[str, str]]:
    """The trials as the study's table has them."""
    (file,) = Path("studies").glob("*/trials.csv")
    with file.open() as table:
        return list(csv.DictReader(table))


def states() -> Counter[str]:
    return Counter(row["state"] for row in rows())


# === The space ===


@pytest.mark.skipif(not (PROJECT / "configs").is_dir(), reason="the package is installed alone")
def test_the_space_of_the_project_is_valid() -> None:
    space = read_space(PROJECT / "configs" / "search.yaml", load_config, [])
    assert "train.learning_rate" in space.fields
    assert space.distributions().keys() == space.fields.keys()
    assert space.file.goal == GOAL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.learning_rat": [1, 2]}, "'train.learning_rat' is unknown. Did you mean 'train."),
        ({"data.split_seed": [0, 1]}, "data.split_seed may not be searched: it decides what is"),
        ({"data.limit": [10, 20]}, "data.limit may not be searched"),
        ({"data.test_fraction": {"low": 0.1, "high": 0.2}}, "may not be searched: it decides"),
        ({"tracking.enabled": [True, False]}, "tracking.enabled may not be searched"),
        ({"train.seed": {"low": 0, "high": 9}}, "train.seed may not be searched: the best seed"),
        ({"train.loss": ["cross_entropy", "focal"]}, "train.loss may not be searched with the"),
        ({"train.momentum": {"low": 0.5, "high": 0.5}}, "low must be less than high"),
        ({"train.momentum": {"low": 0.5, "high": 1.5}}, "train.momentum.high: '1.5' is"),
        ({"train.momentum": {"low": 0.5}}, "train.momentum.high: field required"),
        ({"train.momentum": {"low": 0.0, "hihg": 0.5}}, "Did you mean 'high'?"),
        ({"train.momentum": {"low": 0.0, "high": 0.5, "log": True}}, "log needs low > 0"),
        ({"train.momentum": {"low": 0.0, "high": 0.5}}, "own value 0.9 is not in the range"),
        ({"train.momentum": {"low": "a", "high": 0.5}}, "train.momentum.low: 'a' is not allowed"),
        ({"train.optimizer": {"low": 0, "high": 1}}, "its values are no numbers"),
        ({"train.optimizer": ["adamw", "adam"]}, "train.optimizer: 'adam' is not allowed"),
        ({"train.optimizer": ["sgd"]}, "two or more different choices"),
        ({"data.batch_size": [16, 64, 64]}, "two or more different choices"),
        ({"data.batch_size": [16, 64]}, "own value 32 is not among the choices"),
        ({"data.batch_size": {"low": 16.5, "high": 64}}, "16.5 must be a whole number"),
        ({"data.batch_size": 16}, "16 must be a list of choices, or low and high."),
    ],
)
def test_a_wrong_space_is_refused(
    changes: dict[str, Any], message: str, search: Any, capsys: pytest.CaptureFixture
) -> None:
    write_space({"space": changes})
    assert search() == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not Path("studies").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "must hold a table with the key 'space'"),
        ({"space": {}}, "space must hold fields"),
        ({**SPACE, "gaol": GOAL}, "'gaol' is unknown. Did you mean 'goal'?"),
        ({**SPACE, "goal": "test/loss"}, "goal: 'test/loss' is not allowed"),
        ({**SPACE, "pruner": "best"}, "pruner: 'best' is not allowed"),
        ({**SPACE, "warmup_epochs": 0}, "warmup_epochs: 0 is not allowed"),
    ],
)
def test_a_wrong_file_is_refused(
    content: Any, message: str, search: Any, capsys: pytest.CaptureFixture
) -> None:
    write_space(content)
    assert search() == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "--trials: '0' is not allowed: a whole number of at least 1."),
        (["--trials", "many"], "--trials: 'many' is not allowed: a whole number"),
        (["--trails", "3"], "unknown. Did you mean '--trials'?"),
        (["--study", "../up"], "'../up' is not allowed"),
        (["--timeout", "-1"], "--timeout: '-1' is not allowed: minutes, more than 0 and less"),
        (["--timeout", "0"], "--timeout: '0' is not allowed: minutes, more than 0 and less"),
        (["--timeout", "nan"], "--timeout: 'nan' is not allowed: minutes"),
        (["--timeout", "soon"], "--timeout: 'soon' is not allowed: minutes"),
        (["--space", "none.yaml"], "--space: 'none.yaml': No such file"),
        (["--storage", "mysql://ada:secret@host/db"], "'mysql://host/db' is not allowed"),
        (["--storage", "nonsense"], "is no URL of a database"),
        (["--storage", "sqlite://"], "is not allowed: sqlite:///FILE"),
        (["--resume", "latest"], "--resume"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str], message: str, search: Any, capsys: pytest.CaptureFixture
) -> None:
    assert search(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "secret" not in error


def test_the_database_of_another_program_is_refused(
    own_folder: Path, search: Any, capsys: pytest.CaptureFixture
) -> None:
    url = f"sqlite:///{own_folder / 'runs.db'}"
    with sqlite3.connect(own_folder / "runs.db") as store:
        store.execute("CREATE TABLE alembic_version (version_num TEXT)")
        before = list(store.iterdump())
    assert search("--storage", url) == 2
    assert "is the database of another program, such as MLflow" in capsys.readouterr().err
    with sqlite3.connect(own_folder / "runs.db") as store:
        assert list(store.iterdump()) == before


def test_without_the_extra(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert search() == 1
    assert capsys.readouterr().err == "error: tune needs an extra: pip install -e '.[tune]'.\n"


def test_help_needs_no_optuna() -> None:
    code = (
        "import sys; from {{ cookiecutter.package_name }}.__main__ import main; "
        "main(['tune', '--help']); sys.exit('optuna' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr


# === Studies ===


def test_a_study(search: Any, capsys: pytest.CaptureFixture) -> None:
    assert search("--trials", "12") == 0
    found = rows()
    assert states()["complete"] + states()["pruned"] == 12
    given = load_config([]).train.learning_rate or 0.01
    assert float(found[0]["train.learning_rate"]) == given
    assert found[0]["data.batch_size"] == "32", "trial 0 is the configuration as it is given"
    best = min((r for r in found if r["state"] == "complete"), key=lambda r: float(r[GOAL]))
    tuned = load_config(["--config", "configs/tuned.yaml"])
    assert tuned.train.learning_rate == float(best["train.learning_rate"])
    assert tuned.data.batch_size == int(best["data.batch_size"])
    text = Path("configs/tuned.yaml").read_text()
    assert f"trial {best['trial']}" in text
    assert yaml.safe_load(text).keys() == {"train", "data"}
    output = capsys.readouterr().out
    assert "0 (as given)" in output
    (folder,) = (path for path in Path("studies").iterdir() if path.is_dir())
    assert {"curve.svg", "importance.svg"} <= {path.name for path in folder.iterdir()}
    assert Path("studies/.gitignore").read_text() == "*\n"


def test_the_same_command_continues(search: Any) -> None:
    assert search("--trials", "3") == 0
    first = rows()
    assert search("--trials", "3") == 0
    assert rows() == first
    assert search("--trials", "5") == 0
    assert rows()[:3] == first
    assert len(rows()) == 5


def test_a_study_repeats_itself(search: Any) -> None:
    def settings() -> list[str]:
        assert search("--trials", "7") == 0
        found = [row["train.learning_rate"] for row in rows()]
        shutil.rmtree("studies")
        return found

    assert settings() == settings()


def test_trials_are_runs_that_are_marked(search: Any) -> None:
    assert search("--trials", "11", plan={2: "diverge"}, pause=0.1) == 0
    found = {row["run"]: row["state"] for row in rows()}
    assert states()["pruned"] >= 2, "one diverged and some were worse than the others"
    for run in all_runs():
        expected = {"complete": {"finished"}, "pruned": {"pruned", "diverged"}}[found[run.id]]
        assert run.state in expected
    assert program.main(["runs", "prune", "--keep", "0", "--unrecorded"]) == 0
    assert all_runs() == []


def test_no_run_of_a_search_is_the_latest(search: Any) -> None:
    assert search("--trials", "1") == 0
    assert program.main(["predict"]) == 2
    assert find_run(all_runs()[0].id).summary


@pytest.mark.parametrize("pruner", ["halving", "none"])
def test_pruners(pruner: str, search: Any) -> None:
    write_space({**SPACE, "pruner": pruner})
    assert search("--trials", "8", pause=0.1) == 0
    assert (states()["pruned"] > 0) == (pruner == "halving")
    assert states()["complete"] + states()["pruned"] == 8


def test_another_goal(search: Any, capsys: pytest.CaptureFixture) -> None:
    write_space({**SPACE, "goal": "validation/accuracy"})
    assert search("--trials", "4") == 0
    values = [float(row["validation/accuracy"]) for row in rows()]
    output = capsys.readouterr().out
    assert f"validation/accuracy {max(values):.5g}" in output
    assert f"{max(values):.6g}" in Path("configs/tuned.yaml").read_text()


def test_an_unknown_goal(search: Any, capsys: pytest.CaptureFixture) -> None:
    write_space({**SPACE, "goal": "validation/acuracy"})
    assert search() == 2
    message = "goal: 'validation/acuracy' is unknown. Did you mean 'validation/accuracy'?"
    assert message in capsys.readouterr().err


def test_the_goal_is_that_of_the_weights_that_are_kept() -> None:
    losses, accuracies = (0.9, 0.4, 0.6), (0.5, 0.7, 0.9)
    epochs = [
        Epoch(i, {"validation/loss": loss, "validation/accuracy": accuracy})
        for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True))
    ]
    assert read_best_value(epochs, "validation/accuracy") == 0.7
    assert read_best_value([], GOAL) is None
    assert read_best_value([Epoch(1, {GOAL: float("nan")})], GOAL) is None


def test_trials_that_go_wrong_do_not_end_the_study(
    search: Any, capsys: pytest.CaptureFixture
) -> None:
    write_space({**SPACE, "patience_minutes": 0.02})
    plan = {1: "crash", 2: "kill", 4: "hang", 5: "diverge"}
    assert search("--trials", "6", plan=plan) == 0
    assert states()["complete"] + states()["pruned"] == 6
    assert states()["fail"] == 3
    reasons = {int(row["trial"]): row["reason"] for row in rows()}
    assert reasons[1] == "not enough device memory."
    assert "SIGKILL, as when memory runs out" in reasons[2]
    assert reasons[4] == "it hung"
    assert "diverged" in reasons[5]


def test_a_study_in_which_nothing_works_ends(search: Any, capsys: pytest.CaptureFixture) -> None:
    assert search(plan={0: "crash"}) == 1
    message = "the configuration as it was given does not train: not enough device memory."
    assert message in capsys.readouterr().err
    assert search(plan=dict.fromkeys(range(3, 30), "crash")) == 1
    assert "3 trials in a row failed" in capsys.readouterr().err


def test_other_data_is_refused(search: Any, capsys: pytest.CaptureFixture) -> None:
    assert search(plan={2: "other data"}) == 3
    assert "the data is not that of the study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "space", "message"),
    [
        (["--train.epochs", "7"], SPACE, "was configured with train.epochs="),
        ([], {"space": {"data.batch_size": [16, 32]}}, "searches data.batch_size=[16, 32, 64]"),
        ([], {**SPACE, "goal": "validation/accuracy"}, f"has the goal {GOAL!r}"),
    ],
)
def test_another_space_is_refused(
    words: list[str],
    space: dict[str, Any],
    message: str,
    search: Any,
    capsys: pytest.CaptureFixture,
) -> None:
    assert search("--trials", "1") == 0
    write_space(space)
    assert search(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--study NAME begins another one" in error


def test_a_study_of_another_template_is_refused(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert search("--trials", "1") == 0
    real = SearchSpace.definition

    def foreign(space: SearchSpace) -> dict[str, Any]:
        defined = real(space)
        return {**defined, "fields": {"model.foreign": 1}}

    monkeypatch.setattr(SearchSpace, "definition", foreign)
    assert search() == 2
    assert "is a study of another template" in capsys.readouterr().err


def test_ctrl_c_gives_the_trial_back(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    report = studies.Study.report

    def interrupt(study: Any, trial: Any, epoch: int, value: float) -> bool:
        if (trial.number, epoch) == (2, 3):
            os.kill(os.getpid(), signal.SIGINT)
        return report(study, trial, epoch, value)

    monkeypatch.setattr(studies.Study, "report", interrupt)
    assert search("--trials", "4", pause=0.1) == 75
    assert "stopped by SIGINT after 2 of 4 trials; the same command" in capsys.readouterr().err
    monkeypatch.setattr(studies.Study, "report", report)
    assert search("--trials", "4") == 0
    assert states() == {"complete": 4, "fail": 1}
    stopped, resumed = rows()[2], rows()[3]
    for name in ("run", *SPACE["space"]):
        assert stopped[name] == resumed[name], "the trial goes on in its run"


def test_the_time_is_over(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    report, now = studies.Study.report, time.monotonic

    def let_time_pass(study: Any, trial: Any, epoch: int, value: float) -> bool:
        if (trial.number, epoch) == (2, 3):
            monkeypatch.setattr(time, "monotonic", lambda: now() + 3_600)
        return report(study, trial, epoch, value)

    monkeypatch.setattr(studies.Study, "report", let_time_pass)
    assert search("--trials", "9", "--timeout", "50", pause=0.1) == 0
    assert "The time is over after 2 of 9 trials; the same" in capsys.readouterr().out
    assert states() == {"complete": 2, "fail": 1, "waiting": 1}


def test_a_run_that_cannot_be_resumed_begins_anew(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = studies.Study.report

    def interrupt(study: Any, trial: Any, epoch: int, value: float) -> bool:
        if (trial.number, epoch) == (0, 3):
            os.kill(os.getpid(), signal.SIGINT)
        return report(study, trial, epoch, value)

    monkeypatch.setattr(studies.Study, "report", interrupt)
    assert search("--trials", "1", pause=0.1) == 75
    monkeypatch.setattr(studies.Study, "report", report)
    assert search("--trials", "1", plan={1: "refuse"}) == 0
    assert states() == {"complete": 1, "fail": 2}
    assert rows()[2]["run"] != rows()[0]["run"]


def test_fields_of_the_config_file_are_kept(search: Any) -> None:
    Path("own.yaml").write_text("train: {warmup_fraction: 0.25, momentum: 0.8}\n")
    assert search("--trials", "2", "--config", "own.yaml", "--train.epochs", "6") == 0
    tuned = yaml.safe_load(Path("configs/tuned.yaml").read_text())
    assert tuned["train"]["warmup_fraction"] == 0.25
    assert rows()[0]["train.momentum"] == "0.8"
    line = "train --config configs/tuned.yaml --tracking.enabled false --train.epochs 6\n"
    assert line in Path("configs/tuned.yaml").read_text()


class ShopFields(Section):
    """What a feature of these tests is told in training."""

    port: int = Field(80, ge=1, description="of the shop")


def test_fields_of_features_are_those_of_every_trial(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(config_loader, "find_sections", lambda: {"shop": ShopFields})
    for module in (command, spaces):
        monkeypatch.setattr(module, "find_training_sections", lambda: ["shop"])
    Path("own.yaml").write_text("shop: {port: 81}\n")
    words = ("--trials", "1", "--config", "own.yaml")
    assert search(*words) == 0
    assert yaml.safe_load(Path("configs/tuned.yaml").read_text())["shop"] == {"port": 81}
    assert search("--shop.port", "0") == 2
    assert search(*words, "--shop.port", "82") == 2, "trials of a study have it in common"
    assert "shop.port" in capsys.readouterr().err
    assert search("--help") == 0
    assert "--shop.port" in capsys.readouterr().out


def test_what_mlflow_gets_of_a_study(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures, tables and pages; no logs, which are the runs' own, and no database."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own_folder / 'mlflow.db'}")
    tracking = load_config([]).tracking
    shown = ["curve.svg", "index.html", "trials.csv"]
    for name in (*shown, "trial-0.log", "study.db"):
        Path(name).write_text("content")
    run_id = parent_run.begin(tracking, "one", {"goal": GOAL})
    parent_run.end(tracking, run_id, {f"best.{GOAL}": 0.5}, {"train.momentum": 0.8}, own_folder)
    kept = mlflow.MlflowClient().list_artifacts(run_id)
    assert sorted(file.path for file in kept) == shown


# === Several processes ===


def environment() -> dict[str, str]:
    paths = [str(Path(package.__file__).parents[1]), str(Path(__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def start(words: tuple[str, ...], pause: float) -> subprocess.Popen[str]:
    tune = [sys.executable, "-c", TUNE, "{}", str(pause), *WORDS, *words]
    return subprocess.Popen(
        tune, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def is_in_the_middle() -> bool:
    """Whether some trial of a few is in its third epoch."""
    counts = [len(run.read_metrics()) for run in all_runs() if run.summary is None]
    return len(all_runs()) >= 4 and any(2 <= count <= 4 for count in counts)


def test_two_processes_share_a_study_and_one_is_killed(own_folder: Path) -> None:
    write_space({**SPACE, "pruner": "none"})
    words = ("--trials", "10")
    both = [start(words, 0.3) for _ in range(2)]
    deadline = time.monotonic() + 300
    while not is_in_the_middle():
        assert all(process.poll() is None for process in both), both[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    both[0].kill()
    _, error = both[1].communicate(timeout=900)
    both[0].communicate()
    assert both[1].returncode == 0, error
    assert states()["complete"] == 10
    assert states().keys() <= {"complete", "fail"}
    complete = [row for row in rows() if row["state"] == "complete"]
    assert len({row["run"] for row in complete}) == 10, "no run is counted twice"
    failed = [row["train.learning_rate"] for row in rows() if row["state"] == "fail"]
    assert set(failed) <= {row["train.learning_rate"] for row in complete}, "none is lost"
    assert {run.state for run in all_runs()} <= {"finished", "unfinished"}


def test_a_process_that_slept_does_not_count_its_trial(own_folder: Path) -> None:
    write_space({**SPACE, "pruner": "none"})
    words = ("--trials", "6")
    sleeper = start(words, 0.3)
    deadline = time.monotonic() + 300
    while not any(run.read_metrics() for run in all_runs() if run.summary is None):
        assert sleeper.poll() is None, sleeper.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sleeper.send_signal(signal.SIGSTOP)
    other = start(words, 0.0)
    _, error = other.communicate(timeout=900)
    assert other.returncode == 0, error
    sleeper.send_signal(signal.SIGCONT)
    output, error = sleeper.communicate(timeout=900)
    assert sleeper.returncode == 0, error
    assert "was taken over by another process: not counted." in output
    assert states() == {"complete": 6, "fail": 1}
    assert len({row["run"] for row in rows() if row["state"] == "complete"}) == 6


@pytest.mark.slow
def test_real_trials(own_folder: Path, capsys: pytest.CaptureFixture) -> None:
    write_space({"space": {"train.momentum": {"low": 0.0, "high": 0.9}}})
    assert program.main(["tune", "--trials", "2", *UNRECORDED]) == 0
    for run in all_runs():
        assert run.summary
        assert not run.is_tested
        tags = run.read_existing("record")["tags"]
        assert tags["tune.trial"] in ("0", "1")
    best = ["--config", "configs/tuned.yaml"]
    assert program.main(["train", *UNRECORDED, *best]) == 0
    assert find_run("latest").is_tested
