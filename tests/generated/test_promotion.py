"""Promotions of models on servers: at once, in the middle of a failure, and of other projects."""

import os
import shutil
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
pytestmark = pytest.mark.slow

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

# Moves the alias to a version again and again, each time from the champion that it has just read.
RACE = """
import sys, time
from demo.config import load_config
from demo.engine.tracking.registry import ChampionChanged, Registry

registry, own = Registry(sys.argv[1], load_config([]).tracking), int(sys.argv[2])
for _ in range(ROUNDS):
    before = registry.champion_number()
    time.sleep(0.1)
    try:
        registry.move_champion(before, own, {f"from_{before}": "yes"})
        print("moved", before, own, flush=True)
    except ChampionChanged:
        print("lost", before, own, flush=True)
"""
ROUNDS = 8
RACE = RACE.replace("ROUNDS", str(ROUNDS))


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's server; each test starts it when it wants it."""
    opened = Server(postgres.uri, tmp_path_factory.mktemp("promotions"))
    yield opened
    opened.kill()


@pytest.fixture(scope="module")
def project(run_in: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three runs that MLflow does not have; its package is ``demo``."""
    folder = tmp_path_factory.mktemp("promotion")
    make = ["new", "vision-classifier", "demo", "-y", "--no-git", "-o", str(folder)]
    own = {**os.environ, "HOME": str(folder)}
    subprocess.run([sys.executable, "-m", "aistart", *make], env=own, check=True)
    demo = folder / "demo"
    (demo / "configs/gate.yaml").write_text(GATE)
    (demo / "src/meet.py").write_text(MEET)
    (demo / "src/race.py").write_text(RACE)
    done = run_in(demo, "demo", "train", *SMOKE, "--tracking.enabled", "false")
    assert done.returncode == 0, done.stderr
    (first,) = (demo / "runs").iterdir()
    for copy in ("b", "c"):
        shutil.copytree(first, first.with_name(f"{first.name}-{copy}"))
    return demo


@pytest.fixture
def three_versions(project: Path, run_in: Run) -> Callable[..., dict[str, str]]:
    """Register the three runs, and promote the first one."""

    def register(uri: str, name: str) -> dict[str, str]:
        store = {"MLFLOW_TRACKING_URI": uri, "APP__TRACKING__EXPERIMENT": name}
        for run in sorted((project / "runs").iterdir()):
            (run / "tracking.json").unlink(missing_ok=True)
            sent = run_in(project, "demo", "replay", run.name, **store)
            assert sent.returncode == 0, sent.stderr
        done = run_in(project, "demo", "promote", "--run", f"models:/{name}/1", **store)
        assert done.returncode == 0, done.stderr
        return store

    return register


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


def test_two_promotions_at_once(
    project: Path, three_versions: Callable, run_in: Run, server: Server
) -> None:
    server.start()
    name = "promoted-at-once"
    store = three_versions(server.uri, name)
    for file in project.glob("ready-*"):
        file.unlink()
    with ThreadPoolExecutor(2) as pool:
        both = {
            n: pool.submit(run_in, project, "meet", "--run", f"models:/{name}/{n}", **store)
            for n in (2, 3)
        }
    done = {n: one.result() for n, one in both.items()}
    assert sorted(one.returncode for one in done.values()) == [0, 1], done
    winner = next(n for n, one in done.items() if one.returncode == 0)
    loser = 5 - winner
    assert champion(server, name) == str(winner)
    assert f"is version {winner} by now and not version 1" in done[loser].stderr
    # Compared with the new champion, it is as good.
    again = run_in(project, "demo", "promote", "--run", f"models:/{name}/{loser}", **store)
    assert again.returncode == 0, again.stderr
    assert champion(server, name) == str(loser)
    for expected in (str(winner), "1"):
        assert run_in(project, "demo", "promote", "--rollback", **store).returncode == 0
        assert champion(server, name) == expected
    assert claims(server, name) == []


def test_the_server_is_killed_in_the_middle(
    project: Path, three_versions: Callable, run_in: Run, server: Server
) -> None:
    server.start()
    name = "promoted-in-vain"
    store = three_versions(server.uri, name)
    for file in project.glob("ready-*"):
        file.unlink()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(run_in, project, "meet", "--run", f"models:/{name}/2", **store)
        wait_for(lambda: late.done() or (project / "ready-2").exists(), "the table")
        server.kill()
        (project / "ready-x").touch()
    done = late.result()
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: registry: {server.uri}: "), done.stderr
    assert done.stderr.count("\n") == 1
    server.start()
    assert champion(server, name) == "1"
    (version,) = (one for one in server.versions(name) if one["version"] == "2")
    assert not version.get("tags")


@pytest.mark.parametrize("kind", ["server", "postgresql", "sqlite"])
def test_no_move_of_many_is_lost(
    kind: str,
    project: Path,
    three_versions: Callable,
    run_in: Run,
    server: Server,
    postgres: Postgres,
) -> None:
    """The moves of three processes form one chain: each begins where the one before it ended."""
    uris = {"postgresql": postgres.uri, "sqlite": f"sqlite:///{project / 'mlflow.db'}"}
    if kind == "server":
        server.start()
    store = three_versions(uris.get(kind, server.uri), f"race-{kind}")
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(run_in, project, "race", f"race-{kind}", str(n), **store) for n in (1, 2, 3)
        ]
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


def test_processes_that_died(
    project: Path, three_versions: Callable, run_in: Run, server: Server
) -> None:
    """A claim of one that died is waited for, for two minutes in all, and then forgotten."""
    server.start()
    name = "promoted-after-all"
    store = three_versions(server.uri, name)
    for claim, age in (("long-ago", 1000), ("just-now", 100)):
        server.tag_model(name, f"moving_champion.{claim}", f"0 {time.time() - age:.0f}")
    done = run_in(project, "demo", "promote", "--run", f"models:/{name}/2", **store)
    assert done.returncode == 0, done.stderr
    assert champion(server, name) == "2"
    assert claims(server, name) == []


def test_a_champion_of_another_template(
    demo: Path, aistart: Callable, run_in: Run, server: Server
) -> None:
    server.start()
    assert aistart("new", "text-classifier", "demo", "-y", "-o", "texts").exit_code == 0
    texts, name = Path("texts/demo").resolve(), "promoted-elsewhere"
    store = {"MLFLOW_TRACKING_URI": server.uri, "APP__TRACKING__EXPERIMENT": name}
    for project in (texts, demo):
        done = run_in(project, "demo", "train", *SMOKE, **store)
        assert done.returncode == 0, done.stderr
        (project / "configs/gate.yaml").write_text(GATE)
    done = run_in(texts, "demo", "promote", **store)
    assert done.returncode == 0, done.stderr
    refused = run_in(demo, "demo", "promote", **store)
    assert refused.returncode == 3
    assert "its inputs differ (only there: 'text'; only here: 'image')" in refused.stderr
    assert champion(server, name) == "1"
