"""Promotions of models on servers: at once, in the middle of a failure, and of other projects."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.generated.servers import Postgres, Server, wait_for

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
pytestmark = [pytest.mark.slow, pytest.mark.minutes(5), pytest.mark.xdist_group("promotion")]

SMOKE = ("--config", "configs/smoke.yaml", "--fresh")
GATE = "metrics: {headline: {not_worse_by: 0.9}}\n"

# `promote` that waits, with its table made, until this many processes are as far.
MEET = """
import sys, time
from pathlib import Path
from demo.__main__ import main
from demo.engine.report import promote

check = promote.check

def meet(*words):
    rows = check(*words)
    Path(f"ready-{sys.argv[2][-1]}").touch()
    while len(list(Path().glob("ready-*"))) < 2:
        time.sleep(0.01)
    return rows

promote.check = meet
sys.exit(main(["promote", *sys.argv[1:]]))
"""

# Registers three versions, of which the first one is the champion: without files, or two more of
# the one that there is.
REGISTER = """
import sys
import mlflow
from demo.config import load_config
from demo.engine.tracking.registry import ALIAS, Registry

name = sys.argv[1]
Registry(name, load_config([]).tracking)
client = mlflow.MlflowClient()
if "again" in sys.argv:
    first = client.get_model_version(name, "1")
    model = first.source.removeprefix("models:/")
    source, details = first.source, {"run_id": first.run_id, "model_id": model}
else:
    client.create_registered_model(name)
    source, details = "s3://nowhere/model", {}
    client.create_model_version(name, source)
for _ in range(2):
    client.create_model_version(name, source, **details)
client.set_registered_model_alias(name, ALIAS, "1")
"""

# Moves the alias to a version so many times, each time from the champion that it has just read.
RACE = """
import sys, time
from demo.config import load_config
from demo.engine.tracking.registry import ChampionChanged, Registry

registry, own = Registry(sys.argv[1], load_config([]).tracking), int(sys.argv[2])
for _ in range(int(sys.argv[3])):
    before = registry.champion_number()
    time.sleep(0.1)
    try:
        registry.move_champion(before, own, {f"from_{before}": "yes"})
        print("moved", before, own, flush=True)
    except ChampionChanged:
        print("lost", before, own, flush=True)
"""
ROUNDS = 5
MODEL, ELSEWHERE = "promoted", "promoted-elsewhere"


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's server; the one test that kills it starts it again."""
    opened = Server(postgres.uri, tmp_path_factory.mktemp("promotions"))
    opened.start()
    yield opened
    opened.kill()


def store_of(uri: str, model: str) -> dict[str, str]:
    """Environment of a project that registers a model."""
    return {"MLFLOW_TRACKING_URI": uri, "APP__TRACKING__EXPERIMENT": model}


def make_project(template: str, folder: Path) -> Path:
    """Render a project whose package is ``demo``."""
    make = ["new", template, "demo", "-y", "--no-git", "-q", "-o", str(folder)]
    own = {**os.environ, "HOME": str(folder)}
    subprocess.run([sys.executable, "-m", "aistart", *make], env=own, check=True)
    demo = folder / "demo"
    (demo / "configs/gate.yaml").write_text(GATE)
    for name, text in (("meet", MEET), ("register", REGISTER), ("race", RACE)):
        (demo / f"src/{name}.py").write_text(text)
    return demo


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for images that has trained nothing yet."""
    return make_project("vision-classifier", tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(
    project: Path, run_in: Run, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The project with a run, which is all of the versions 1 to 3 of ``MODEL`` on the server.

    Version 1 of ``ELSEWHERE`` there is a model for texts.
    """
    texts = make_project("text-classifier", tmp_path_factory.mktemp("texts"))
    with ThreadPoolExecutor(2) as pool:
        own = pool.submit(run_in, project, "demo", "train", *SMOKE, "--tracking.enabled", "false")
        store = store_of(server.uri, ELSEWHERE)
        others = pool.submit(run_in, texts, "demo", "train", *SMOKE, **store)
    for done in (own.result(), others.result()):
        assert done.returncode == 0, done.stderr
    store = store_of(server.uri, MODEL)
    for words in (("demo", "replay", "latest"), ("register", MODEL, "again")):
        done = run_in(project, *words, **store)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def store(trained: Path, server: Server) -> dict[str, str]:
    """Where version 1 of ``MODEL`` is the champion, and nothing waits."""
    server.start()
    server.set_alias(MODEL, "champion", "1")
    for file in trained.glob("ready-*"):
        file.unlink()
    return store_of(server.uri, MODEL)


def describe(server: Server, model: str) -> dict[str, Any]:
    """What the server knows of a registered model."""
    return server.get("registered-models/get", name=model)["registered_model"]


def champion(server: Server, model: str) -> str | None:
    """The version behind the alias."""
    aliases = {one["alias"]: one["version"] for one in describe(server, model).get("aliases", [])}
    return aliases.get("champion")


def claims(server: Server, model: str) -> list[str]:
    """Tags of processes that wait to move the alias, or move it."""
    tags = describe(server, model).get("tags", [])
    return [tag["key"] for tag in tags if tag["key"].startswith("moving_champion.")]


def tags(server: Server, model: str, number: str) -> dict[str, str]:
    """The tags of a version."""
    (version,) = (one for one in server.versions(model) if one["version"] == number)
    return {tag["key"]: tag["value"] for tag in version.get("tags", [])}


def test_two_promotions_at_once(
    trained: Path, store: dict[str, str], run_in: Run, server: Server
) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = {
            n: pool.submit(run_in, trained, "meet", "--run", f"models:/{MODEL}/{n}", **store)
            for n in (2, 3)
        }
    done = {n: one.result() for n, one in both.items()}
    assert sorted(one.returncode for one in done.values()) == [0, 1], done
    winner = next(n for n, one in done.items() if one.returncode == 0)
    loser = 5 - winner
    assert champion(server, MODEL) == str(winner)
    assert f"is version {winner} by now and not version 1" in done[loser].stderr
    # Compared with the new champion, it is as good.
    again = run_in(trained, "demo", "promote", "--run", f"models:/{MODEL}/{loser}", **store)
    assert again.returncode == 0, again.stderr
    assert champion(server, MODEL) == str(loser)
    for expected in (str(winner), "1"):
        assert run_in(trained, "demo", "promote", "--rollback", **store).returncode == 0
        assert champion(server, MODEL) == expected
    assert claims(server, MODEL) == []


def test_the_server_is_killed_in_the_middle(
    trained: Path, store: dict[str, str], run_in: Run, server: Server
) -> None:
    before = tags(server, MODEL, "2")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(run_in, trained, "meet", "--run", f"models:/{MODEL}/2", **store)
        wait_for(lambda: late.done() or (trained / "ready-2").exists(), "the table")
        server.kill()
        (trained / "ready-x").touch()
    done = late.result()
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: registry: {server.uri}: "), done.stderr
    assert done.stderr.count("\n") == 1
    server.start()
    assert champion(server, MODEL) == "1"
    assert tags(server, MODEL, "2") == before


@pytest.mark.parametrize("kind", ["server", "postgresql", "sqlite"])
def test_no_move_of_many_is_lost(
    kind: str, project: Path, run_in: Run, server: Server, postgres: Postgres
) -> None:
    """The moves of three processes form one chain: each begins where the one before it ended."""
    server.start()
    uris = {"postgresql": postgres.uri, "sqlite": f"sqlite:///{project / 'mlflow.db'}"}
    name = f"race-{kind}"
    store = store_of(uris.get(kind, server.uri), name)
    registered = run_in(project, "register", name, **store)
    assert registered.returncode == 0, registered.stderr
    with ThreadPoolExecutor(3) as pool:
        words = [(name, number, str(ROUNDS)) for number in "123"]
        runs = [pool.submit(run_in, project, "race", *each, **store) for each in words]
    assert [run.result().returncode for run in runs] == [0, 0, 0], [r.result() for r in runs]
    lines = [line.split() for run in runs for line in run.result().stdout.splitlines()]
    moves = [(before, after) for word, before, after in lines if word == "moved"]
    assert len(lines) == 3 * ROUNDS
    # Nobody moves alone all the time.
    assert len({after for _, after in moves}) > 1
    # A version is left as often as it is come to, but for the last one.
    balances = {
        version: sum((after == version) - (before == version) for before, after in moves)
        + (version == "1")
        for version in "123"
    }
    assert sorted(balances.values()) == [0, 0, 1], moves


def test_processes_that_died(project: Path, run_in: Run, server: Server) -> None:
    """A claim of one that died is waited for, for two minutes in all, and then forgotten."""
    server.start()
    name = "promoted-after-all"
    store = store_of(server.uri, name)
    registered = run_in(project, "register", name, **store)
    assert registered.returncode == 0, registered.stderr
    for claim, age in (("long-ago", 1000), ("just-now", 105)):
        server.tag_model(name, f"moving_champion.{claim}", f"0 {time.time() - age:.0f}")
    done = run_in(project, "race", name, "2", "1", **store)
    assert done.stdout == "moved 1 2\n", done.stderr
    assert champion(server, name) == "2"
    assert claims(server, name) == []


def test_a_champion_of_another_template(trained: Path, run_in: Run, server: Server) -> None:
    server.start()
    server.set_alias(ELSEWHERE, "champion", "1")
    store = store_of(server.uri, ELSEWHERE)
    (run,) = (trained / "runs").iterdir()
    (run / "tracking.json").unlink()
    sent = run_in(trained, "demo", "replay", run.name, **store)
    assert sent.returncode == 0, sent.stderr
    refused = run_in(trained, "demo", "promote", "--run", run.name, **store)
    assert refused.returncode == 3
    assert "its inputs differ (only there: 'text'; only here: 'image')" in refused.stderr
    assert champion(server, ELSEWHERE) == "1"
