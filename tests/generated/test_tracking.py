"""Tracking on servers: that answer, that are down or silent, and that come back."""

import base64
import fcntl
import json
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.generated.servers import (
    PASSWORD,
    Postgres,
    Server,
    free_port,
    refusing,
    silent,
    wait_for,
)

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
pytestmark = [pytest.mark.slow, pytest.mark.minutes(6), pytest.mark.xdist_group("tracking")]

# Each of these calls does its work, but its first answer does not arrive.
LOSSES = """
from contextlib import suppress
import mlflow
from demo.config import load_config
from demo.engine.errors import ProjectError
from demo.engine.runs import find_run
from demo.engine.tracking.sender import Sender, replay

def lose_once(owner, name):
    def first(*words, **options):
        print(name)
        setattr(owner, name, whole)
        whole(*words, **options)
        raise OSError("no answer")

    whole = getattr(owner, name)
    setattr(owner, name, first)

for name in ("_log_configuration", "_log_data", "_log_metrics"):
    lose_once(Sender, name)
for name in ("log_artifacts", "end_run"):
    lose_once(mlflow, name)
run = find_run("latest")
for _ in range(9):
    with suppress(ProjectError):
        replay(run, load_config(base=run.config_file))
"""
SMOKE = ("--config", "configs/smoke.yaml", "--fresh")
SECRET = "t0ken-hunter2"
EPOCHS = 80  # long enough for a server to be killed in the middle
LOST = 30.0  # seconds that a server may cost at most


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's server; each test starts it when it wants it."""
    opened = Server(postgres.uri, tmp_path_factory.mktemp("server"))
    yield opened
    opened.kill()


def folder_of(done: Done) -> Path:
    """The folder of the run that a training says it made."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return Path(re.search(r"^Run folder: (.+)$", done.stdout, re.MULTILINE)[1])


def read(run: Path, name: str) -> dict[str, Any]:
    return json.loads((run / f"{name}.json").read_text())


def journal(run: Path) -> list[dict[str, Any]]:
    """The whole lines of ``metrics.jsonl``."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check_parameters(sent: dict[str, Any], run: Path) -> None:
    """A run of MLflow has all fields, and each split as a dataset of its own."""
    params = {param["key"]: param["value"] for param in sent["data"]["params"]}
    config = yaml.safe_load((run / "config.yaml").read_text())
    fields = {f"{section}.{name}" for section, values in config.items() for name in values}
    assert params.keys() == fields | {"backend", "strategy", "replicas"}
    assert params["train.epochs"] == str(config["train"]["epochs"])
    tags = [tag["value"] for data in sent["inputs"]["dataset_inputs"] for tag in data["tags"]]
    assert sorted(tags) == ["test", "train", "validation"]


def check_sent(server: Server, run: Path, experiment: str) -> None:
    """MLflow has one run, once each value of the folder, and one version of the model."""
    summary = read(run, "summary")
    expected = defaultdict(list)
    for line in journal(run):
        for name, value in line["metrics"].items():
            expected[name].append((line["step"], value))
    for name, value in summary["metrics"].items():
        expected[name].append((summary["steps"], value))
    (sent,) = server.runs(experiment)
    run_id = sent["info"]["run_id"]
    assert {name: server.history(run_id, name) for name in expected} == expected
    assert {metric["key"] for metric in sent["data"]["metrics"]} == expected.keys()
    check_parameters(sent, run)
    assert (sent["info"]["status"], sent["info"]["run_name"]) == ("FINISHED", run.name)
    (version,) = server.versions(experiment)
    assert version["run_id"] == run_id
    said = {name: summary["mlflow"][name] for name in ("run_id", "registered_version", "complete")}
    assert said == {"run_id": run_id, "registered_version": 1, "complete": True}


def check_unsent(run: Path, output: str) -> None:
    """The run is whole on disk, training was hardly held up, and says how to send the run."""
    summary = read(run, "summary")
    assert journal(run)[-1]["step"] == summary["steps"]
    assert summary["mlflow"]["complete"] is False
    assert f"demo replay {run.name}\n" in output
    # The first file is written when all work is done, the second when training ends.
    held_up = (run / "train.log").stat().st_mtime - (run / "request.json").stat().st_mtime
    assert held_up <= LOST


def files_with(folder: Path, *secrets: str) -> list[Path]:
    """Files that hold any of the secrets."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [f for f in files if any(s.encode() in f.read_bytes() for s in secrets)]


def test_server_on_postgresql(demo: Path, run_in: Run, server: Server) -> None:
    server.start()
    run = folder_of(run_in(demo, "demo", "train", *SMOKE, MLFLOW_TRACKING_URI=server.uri))
    check_sent(server, run, "demo")
    run_id = read(run, "summary")["mlflow"]["run_id"]
    assert server.artifacts(run_id) >= {"config.yaml", "environment.txt", "report"}
    report = {f"report/{file.name}" for file in (run / "report").iterdir()}
    assert server.artifacts(run_id, "report") == report
    model = "models:/demo/1"
    again = run_in(demo, "demo", "evaluate", "--run", model, MLFLOW_TRACKING_URI=server.uri)
    accuracy = read(run, "summary")["metrics"]["test/accuracy"]
    assert f"test/accuracy  {accuracy:.4f}\n" in again.stdout, again.stderr


def test_database_without_a_server(
    demo: Path, run_in: Run, postgres: Postgres, server: Server
) -> None:
    """Its password, like any secret of the environment, is written nowhere."""
    server.start()
    secrets = {"APP__TRACKING__URI": postgres.uri, "MY_SECRET": SECRET}
    done = run_in(demo, "demo", "train", *SMOKE, "--tracking.experiment", "direct", **secrets)
    run = folder_of(done)
    check_sent(server, run, "direct")
    # Artifacts are where the project is, not where one happens to be.
    assert list((demo / "mlartifacts").rglob("model.keras"))
    written = done.stdout + postgres.dump()
    assert run.name in written
    assert PASSWORD not in written
    assert SECRET not in written
    assert files_with(demo, PASSWORD, SECRET) == []


def test_servers_that_do_not_answer(demo: Path, run_in: Run, server: Server) -> None:
    """Down from the start, or silent: training is as good, and hardly later than without."""
    server.kill()

    def train(*words: str, **options: str) -> tuple[Path, str, float]:
        began = time.monotonic()
        done = run_in(demo, "demo", "train", *SMOKE, *words, **options)
        return folder_of(done), done.stdout, time.monotonic() - began

    # Side by side, so that whatever else this machine has to do slows all of them.
    with silent() as deaf, ThreadPoolExecutor(3) as pool:
        untracked = pool.submit(train, "--tracking.enabled", "false")
        waiting = pool.submit(train, MLFLOW_TRACKING_URI=deaf)
        late = pool.submit(train, "--tracking.experiment", "late", MLFLOW_TRACKING_URI=server.uri)
    _, _, seconds = untracked.result()
    for run, output, seconds_tracked in (waiting.result(), late.result()):
        check_unsent(run, output)
        assert seconds_tracked - seconds <= LOST
    server.start()
    run = late.result()[0]
    for _ in range(2):
        done = run_in(demo, "demo", "replay", run.name, MLFLOW_TRACKING_URI=server.uri)
        assert (done.returncode, done.stderr) == (0, "")
        check_sent(server, run, "late")
        assert read(run, "summary")["mlflow"]["run_id"] in done.stdout


def in_the_middle(run: Path) -> bool:
    """MLflow has some lines of a run that goes on."""
    file = run / "tracking.json"
    return file.exists() and json.loads(file.read_text()).get("lines", 0) > 0


def at_the_end(run: Path) -> bool:
    """The last epoch is over."""
    return any(
        line["epoch"] == EPOCHS and "validation/loss" in line["metrics"] for line in journal(run)
    )


@pytest.mark.parametrize("moment", [in_the_middle, at_the_end])
def test_server_is_killed(
    moment: Callable[[Path], bool], demo: Path, run_in: Run, server: Server
) -> None:
    server.start()
    name = moment.__name__
    words = ["--train.epochs", str(EPOCHS), "--train.early_stopping_patience", "0"]
    words += ["--tracking.experiment", name]
    uri = {"MLFLOW_TRACKING_URI": server.uri}
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(run_in, demo, "demo", "train", *words, **uri)
        wait_for(lambda: training.done() or any(map(moment, demo.glob("runs/*"))), name, 300)
        server.kill()
    done = training.result()
    run = folder_of(done)
    check_unsent(run, done.stdout)
    server.start()
    done = run_in(demo, "demo", "replay", "latest", **uri)
    assert (done.returncode, done.stderr) == (0, "")
    check_sent(server, run, name)


def test_no_answer_that_is_lost_makes_a_difference(demo: Path, run_in: Run, server: Server) -> None:
    """A run may be sent later too; by one process at a time."""
    server.start()
    words = ["--tracking.enabled", "false", "--tracking.experiment", "losses"]
    run = folder_of(run_in(demo, "demo", "train", *SMOKE, *words))
    (demo / "src" / "losses.py").write_text(LOSSES)
    with (run / ".tracking.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_in(demo, "demo", "replay", "latest", MLFLOW_TRACKING_URI=server.uri)
    assert done.stderr == f"error: RUN: {run.name!r} is being sent by another process.\n"
    done = run_in(demo, "losses", MLFLOW_TRACKING_URI=server.uri)
    assert done.returncode == 0, done.stderr
    lost = ["_log_configuration", "_log_data", "_log_metrics", "log_artifacts", "end_run"]
    assert done.stdout.split() == lost
    check_sent(server, run, "losses")


def test_credentials_are_used_and_not_kept(demo: Path, run_in: Run) -> None:
    basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    user = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    with refusing() as (uri, headers):
        done = run_in(demo, "demo", "train", *SMOKE, MLFLOW_TRACKING_URI=uri, **user)
        run = folder_of(done)
        check_unsent(run, done.stdout)
        token = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": SECRET}
        refused = run_in(demo, "demo", "replay", run.name, **token)
    assert headers == {f"Basic {basic}", f"Bearer {SECRET}"}
    down = f"postgresql://ada:{PASSWORD}@127.0.0.1:{free_port()}/runs?password={SECRET}"
    nobody = run_in(demo, "demo", "replay", run.name, MLFLOW_TRACKING_URI=down)
    for failed in (refused, nobody):
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.startswith("error: tracking.uri: ")
        assert failed.stderr.count("\n") == 1
    written = done.stdout + refused.stderr + nobody.stderr
    assert [secret for secret in (PASSWORD, basic, SECRET) if secret in written] == []
    assert files_with(demo, PASSWORD, basic, SECRET) == []
