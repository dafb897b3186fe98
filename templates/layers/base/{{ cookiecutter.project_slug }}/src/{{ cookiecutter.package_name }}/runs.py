"""Runs on disk: ``runs/<run id>/``, and a command that lists, compares and prunes them.

A run's folder holds ``config.yaml``, ``record.json`` (what is known from the start),
``metrics.jsonl``, ``train.log``, ``checkpoints/``, ``model.keras``, ``report/``,
``tracking.json`` (what MLflow has of it) and, once it is finished, ``summary.json``.
"""

import argparse
import json
import secrets
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from .config import Config, Parser
from .errors import ProjectError, UsageProblem, command, unknown
from .files import project_root, write_json, write_text
from .locks import Lock, try_lock


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def model_file(self) -> Path:
        return self.path / "model.keras"

    @property
    def log_file(self) -> Path:
        return self.path / "train.log"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def report_dir(self) -> Path:
        return self.path / "report"

    @property
    def summary(self) -> dict[str, Any] | None:
        """What the run came to, or None while it is not finished."""
        return self.read("summary")

    def write_summary(self, summary: dict[str, Any]) -> None:
        self.write("summary", summary)

    def read(self, name: str) -> dict[str, Any] | None:
        """``NAME.json`` of the run, or None where there is none."""
        try:
            return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write ``NAME.json`` of the run."""
        write_json(self.path / f"{name}.json", value)

    def append_metrics(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Add a line to ``metrics.jsonl``."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"step": step, "epoch": epoch, "time": time, "metrics": metrics}
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics_size(self) -> int:
        """Bytes of ``metrics.jsonl``."""
        return self.metrics_file.stat().st_size if self.metrics_file.is_file() else 0

    def cut_metrics(self, size: int) -> None:
        """Leave only so many bytes of ``metrics.jsonl``: what comes after is done again."""
        if self.metrics_size() > size:
            with self.metrics_file.open("r+b") as file:
                file.truncate(size)

    def read_metrics(self, first: int = 0) -> list[dict[str, Any]]:
        """The whole lines of ``metrics.jsonl`` from line ``first`` on, counted from 0."""
        if not self.metrics_file.is_file():
            return []
        with self.metrics_file.open(encoding="utf-8") as file:
            return [json.loads(line) for line in islice(file, first, None) if line[-1] == "\n"]

    def lock_file(self, name: str) -> Path:
        """The file of one of the run's locks, see ``claim``."""
        return self.path / f".{name}.lock"

    def claim(self, name: str = "run") -> Lock | None:
        """A lock on the run, held until it is closed; None if another process has it.

        Args:
            name: ``run`` to write the run's folder, ``tracking`` to send it.
        """
        return try_lock(self.lock_file(name))


def runs_dir() -> Path:
    """The folder of all runs of this project."""
    return project_root() / "runs"


def start_run(config: Config) -> tuple[Run, Lock]:
    """Make the folder of a new run and write its configuration; the lock on it is held."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    run = Run(runs_dir() / f"{stamp}-{secrets.token_hex(2)}")
    run.path.mkdir(parents=True)
    lock = run.claim()
    if lock is None:
        raise ProjectError(f"{run.path}: another process has locked it.")
    # Last: with it the folder is a run that others find.
    write_text(run.config_file, config.to_yaml())
    return run, lock


def all_runs() -> list[Run]:
    """All runs, oldest first."""
    folder = runs_dir()
    if not folder.is_dir():
        return []
    return [Run(path) for path in sorted(folder.iterdir()) if (path / "config.yaml").is_file()]


def find_run(name: str, field: str = "--run") -> Run:
    """The run with this id; ``latest`` is the newest finished one.

    Args:
        field: what the name was given for, for messages.

    Raises:
        UsageProblem: there is none.
    """
    runs = {run.id: run for run in all_runs()}
    if name == "latest":
        finished = [run for run in runs.values() if run.summary is not None]
        if not finished:
            raise UsageProblem(
                f"{field}: there is no finished run in {runs_dir()}; train one first."
            )
        return finished[-1]
    if name not in runs:
        raise unknown(field, name, ["latest", *runs])
    return runs[name]


def find_unfinished(name: str) -> Run:
    """The unfinished run with this id; ``latest`` is the newest.

    Raises:
        UsageProblem: there is none.
    """
    runs = {run.id: run for run in all_runs()}
    unfinished = [run for run in runs.values() if run.summary is None]
    if name == "latest":
        if not unfinished:
            raise UsageProblem("--resume: there is no unfinished run.")
        return unfinished[-1]
    if name not in runs:
        raise unknown("--resume", name, ["latest", *(run.id for run in unfinished)])
    if runs[name].summary is not None:
        raise UsageProblem(
            f"--resume: {name} is finished; to start from its weights: --train.init_from {name}."
        )
    return runs[name]


def _metrics(run: Run) -> dict[str, float]:
    return (run.summary or {}).get("metrics", {})


def _list(arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps([run.summary or {"run_id": run.id} for run in all_runs()], indent=2))
        return
    rows = [("run", "state", "model", "data", "steps", "metrics")]
    for run in all_runs():
        summary = run.summary
        if summary is None:
            rows.append((run.id, "unfinished", "", "", "", ""))
            continue
        shown = ", ".join(f"{name} {value:.4f}" for name, value in list(_metrics(run).items())[:3])
        source = summary["data"]["source"]
        rows.append((run.id, "finished", summary["model"], source, str(summary["steps"]), shown))
    _print_table(rows)


def _compare(arguments: argparse.Namespace) -> None:
    runs = [find_run(name) for name in arguments.run] or all_runs()[-2:]
    if not runs:
        raise UsageProblem(f"there are no runs in {runs_dir()}; train one first.")
    columns = [_flat_config(run) | _metrics(run) for run in runs]
    rows = [("", *(run.id for run in runs))]
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [_shown(column.get(name, "")) for column in columns]
        if len(set(values)) > 1 or name in _metrics(runs[0]):
            rows.append((name, *values))
    _print_table(rows)


def _prune(arguments: argparse.Namespace) -> None:
    runs = all_runs()
    unfinished = [run for run in runs if run.summary is None]
    finished = [run for run in runs if run.summary is not None]
    doomed = [*(unfinished if arguments.unfinished else []), *finished[: -arguments.keep or None]]
    removed = 0
    for run in doomed:
        with ExitStack() as held:
            reason = _reason_to_stay(run, arguments, held)
            if reason is None and not arguments.dry_run:
                shutil.rmtree(run.path)
        if reason:
            print(f"left {run.path}: {reason}")
            continue
        removed += 1
        print(f"{'would remove' if arguments.dry_run else 'removed'} {run.path}")
    print(f"{len(runs) - removed} runs {'would stay' if arguments.dry_run else 'stay'}.")


def _reason_to_stay(run: Run, arguments: argparse.Namespace, held: ExitStack) -> str | None:
    """Why a run must not be removed; None: nothing speaks against it, and its locks are held."""
    for name in ("run", "tracking"):
        lock = run.claim(name)
        if lock is None:
            return "another process works on it."
        held.enter_context(lock)
    if run.summary is None:
        return None if arguments.unfinished else "it is not finished."
    if arguments.unrecorded or (run.read("tracking") or {}).get("complete"):
        return None
    return (
        "MLflow does not have all of it, so this is the only copy; to send it: python -m "
        f"{__package__}.tracking replay {run.id}; to remove it nevertheless: --unrecorded."
    )


def _flat_config(run: Run) -> dict[str, Any]:
    import yaml

    sections = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    flat = {}
    for section, values in sections.items():
        flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) and abs(value) >= 1e-3 else str(value)


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


@command
def main(argv: list[str]) -> None:
    """``python -m PACKAGE.runs list|compare|prune``."""
    parser = Parser(prog="runs", description="List, compare and prune the runs of this project.")
    commands = parser.add_subparsers(required=True, metavar="list|compare|prune")
    lister = commands.add_parser("list", help="one line for each run, oldest first")
    lister.add_argument("--json", action="store_true", help="print the summaries as JSON")
    lister.set_defaults(do=_list)
    comparer = commands.add_parser("compare", help="fields and metrics in which runs differ")
    comparer.add_argument("run", nargs="*", help="ids, or latest (default: the two newest)")
    comparer.set_defaults(do=_compare)
    pruner = commands.add_parser("prune", help="remove old finished runs (MLflow is left alone)")
    pruner.add_argument("--keep", type=_count, default=5, metavar="N", help="newest to keep (5)")
    pruner.add_argument("--unfinished", action="store_true", help="remove unfinished runs as well")
    pruner.add_argument(
        "--unrecorded",
        action="store_true",
        help="remove finished runs as well of which MLflow does not have everything",
    )
    pruner.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    pruner.set_defaults(do=_prune)
    arguments = parser.parse_args(argv)
    arguments.do(arguments)


if __name__ == "__main__":
    sys.exit(main())
