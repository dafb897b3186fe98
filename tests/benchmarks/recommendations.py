"""How good and how fast the recommender template is, against its baselines, ALS and plain Keras.

    python -m tests.benchmarks.recommendations [shop|imports|speed|catalogue ...]

``shop`` is the generated one; ``imports`` is a real log (``imports.py``), against alternating least
squares too (``als.py``; its environment asks the network). ``speed`` is in events learnt a second;
``catalogue`` are the seconds of an evaluation and the milliseconds of an answer with 100,000 items.
Exits with 1 if a limit does not hold.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.printing import Lines, print_table, table_line
from tests.benchmarks.training import (
    SCRIPTS,
    compare,
    environment_of,
    project_rate,
    run,
    script_rate,
)
from tests.environments import implicit, project_python

OF_BEST = 0.95  # of the recall that can be reached in the generated shop
MOST_SECONDS = 600
ITEMS, USERS = 100_000, 10_000
MOST_EVALUATION_SECONDS, MOST_ANSWER_MILLISECONDS = 60, 15
EPOCHS = (6, 3)  # project, plain script


def shop(project: Path) -> Lines:
    """Recall of the default model against the best reachable one."""
    summary = json.loads((run(project) / "summary.json").read_text())
    reached, best = (
        summary["metrics"]["test/recall_at_20"],
        summary["data"]["best_reachable_recall_at_20"],
    )
    what = f"`shop`: recall@20 / best reachable ({summary['seconds']['total']:.0f} s)"
    yield _line(what, reached, best, f"at least {OF_BEST}", reached / best >= OF_BEST)


def log(project: Path) -> Lines:
    """NDCG of the default model on a real log, against each baseline and ALS."""
    file, events = _imports(project)
    folder = run(project, "--data.source", "csv", "--data.path", str(file))
    summary = json.loads((folder / "summary.json").read_text())
    ours, seconds = summary["metrics"]["test/ndcg_at_10"], summary["seconds"]["total"]
    peers = {row["name"]: row["metrics"]["test/ndcg_at_10"] for row in summary["baselines"]}
    command = [str(implicit()), str(SCRIPTS / "als.py"), str(file)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    peers["ALS of `implicit`, tuned"] = json.loads(done.stdout.splitlines()[-1])["ndcg_at_10"]
    for name, reached in peers.items():
        holds = ours > reached and seconds <= MOST_SECONDS
        what = f"{events} imports: NDCG@10 / {name} ({seconds:.0f} s)"
        yield _line(what, ours, reached, "ahead", holds)


def speed(project: Path) -> Lines:
    """Events a second of ``mf`` against a script that draws negatives in Python."""
    file, _ = _imports(project)
    words = ["--data.source", "csv", "--data.path", str(file), "--model.name", "mf"]

    def events_per_second() -> float:
        steps = project_rate(project, EPOCHS[0], *words)
        newest = max(project.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime)
        data = json.loads(newest.read_text())["data"]
        return steps * data["train_interactions"] / -(-data["train"] // 64)

    row = compare(
        "`mf`, events/s / `Model.fit` with negatives from Python",
        events_per_second,
        partial(
            script_rate,
            project_python(),
            "plain_recommender.py",
            *[str(file), "--epochs", str(EPOCHS[1])],
        ),
        least=3.0,
    )
    yield str(row), row.holds


def catalogue(project: Path) -> Lines:
    """Evaluation and answers over a large catalogue."""
    command = [str(project_python()), str(SCRIPTS / "catalogue.py"), "demo", str(ITEMS), str(USERS)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=environment_of(project),
        cwd=project,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    for name, most in (
        ("evaluation_seconds", MOST_EVALUATION_SECONDS),
        ("answer_milliseconds", MOST_ANSWER_MILLISECONDS),
    ):
        what = f"{name.replace('_', ', ')}: {USERS} users, {ITEMS} items"
        cells = [what, f"{measured[name]:.4g}", "", "", f"at most {most}"]
        yield table_line(cells, measured[name] <= most)


def _imports(project: Path) -> tuple[Path, int]:
    """The log of imports of the packages in the project's environment, and its length."""
    file = project / "imports.csv"
    command = [str(project_python()), str(SCRIPTS / "imports.py"), str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return file, int(done.stdout.split()[0])


def _line(what: str, ours: float, peer: float, limit: str, holds: bool) -> tuple[str, bool]:
    cells = [what, f"{ours:.4f}", f"{peer:.4f}", f"{ours / peer:.3f}", limit]
    return table_line(cells, holds)


HEADER = "| what | ours | peer | ratio | limit | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    "shop": shop,
    "imports": log,
    "speed": speed,
    "catalogue": catalogue,
}


if __name__ == "__main__":
    sys.exit(print_table("recommendations", "recommender", HEADER, MEASUREMENTS))
