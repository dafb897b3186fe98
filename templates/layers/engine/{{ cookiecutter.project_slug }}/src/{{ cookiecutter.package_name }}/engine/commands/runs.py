"""``runs list|compare|prune``."""

import argparse
import json
import shutil
from contextlib import ExitStack
from typing import Any

from ..config_loader import Parser
from ..errors import UsageProblem
from ..extensions import call_hooks
from ..runs import Run, all_runs, find_run, runs_dir
from . import PROGRAM, Project


def run(project: Project, words: list[str]) -> None:
    """List, compare or prune the runs of this project."""
    parser = Parser(prog="runs", description="List, compare and prune the runs of this project.")
    commands = parser.add_subparsers(required=True, metavar="list|compare|prune")
    lister = commands.add_parser("list", help="one line for each run, oldest first")
    lister.add_argument("--json", action="store_true", help="print the summaries as JSON")
    lister.set_defaults(action=_list)
    comparer = commands.add_parser("compare", help="fields and metrics in which runs differ")
    comparer.add_argument("run", nargs="*", help="ids, or latest (default: the two newest)")
    call_hooks("add_arguments", "runs compare", comparer)
    comparer.set_defaults(action=lambda arguments: _compare(project, arguments))
    pruner = commands.add_parser("prune", help="remove old runs (MLflow is left alone)")
    pruner.add_argument(
        "--keep",
        type=_count,
        default=5,
        metavar="N",
        help="newest to keep, of the tested runs and of the others (5)",
    )
    pruner.add_argument("--unfinished", action="store_true", help="remove unfinished runs as well")
    pruner.add_argument(
        "--unrecorded",
        action="store_true",
        help="remove finished runs as well of which MLflow does not have everything",
    )
    pruner.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    pruner.set_defaults(action=_prune)
    arguments = parser.parse_args(words)
    arguments.action(arguments)


def _metrics(run: Run) -> dict[str, float]:
    return run.summary["metrics"] if run.summary else {}


def _list(arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps([run.summary or {"run_id": run.id} for run in all_runs()], indent=2))
        return
    rows: list[tuple[str, ...]] = [("run", "state", "model", "data", "steps", "metrics")]
    for run in all_runs():
        summary = run.summary
        if summary is None:
            rows.append((run.id, run.state, "", "", "", ""))
            continue
        shown = ", ".join(f"{name} {value:.4f}" for name, value in list(_metrics(run).items())[:3])
        source = summary["data"]["source"]
        rows.append((run.id, "finished", summary["model"], source, str(summary["steps"]), shown))
    _print_table(rows)


def _compare(project: Project, arguments: argparse.Namespace) -> None:
    runs = [find_run(name) for name in arguments.run] or all_runs()[-2:]
    if not runs:
        raise UsageProblem(f"there are no runs in {runs_dir()}; train one first.")
    columns = [flat_config(run) | _metrics(run) for run in runs]
    rows = [("", *(run.id for run in runs))]
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [_format(column.get(name, "")) for column in columns]
        if len(set(values)) > 1 or name in _metrics(runs[0]):
            rows.append((name, *values))
    _print_table(rows)
    call_hooks("after_comparison", project, runs, arguments)


def _prune(arguments: argparse.Namespace) -> None:
    runs = all_runs()
    unfinished = [run for run in runs if run.state == "unfinished"]
    ended = [run for run in runs if run.state != "unfinished"]
    # Or a search of twenty runs would make a tested one look old.
    tested, others = ([run for run in ended if run.is_tested is kind] for kind in (True, False))
    candidates = [
        *(unfinished if arguments.unfinished else []),
        *tested[: -arguments.keep or None],
        *others[: -arguments.keep or None],
    ]
    removed = 0
    for run in candidates:
        with ExitStack() as locks:
            reason = _reason_to_keep(run, arguments, locks)
            if reason is None and not arguments.dry_run:
                shutil.rmtree(run.path)
        if reason:
            print(f"left {run.path}: {reason}")
            continue
        removed += 1
        print(f"{'would remove' if arguments.dry_run else 'removed'} {run.path}")
    print(f"{len(runs) - removed} runs {'would stay' if arguments.dry_run else 'stay'}.")


def _reason_to_keep(run: Run, arguments: argparse.Namespace, locks: ExitStack) -> str | None:
    """Return why a run must not be removed; None if it may be, with its locks held."""
    for name in ("run", "tracking"):
        lock = run.claim(name)
        if lock is None:
            return "another process works on it."
        locks.enter_context(lock)
    if run.summary is None:
        given_up = run.state != "unfinished"
        return None if given_up or arguments.unfinished else "it is not finished."
    if arguments.unrecorded or (run.read("tracking") or {}).get("complete"):
        return None
    return (
        f"MLflow does not have all of it, so this is the only copy; to send it: {PROGRAM} replay "
        f"{run.id}; to remove it nevertheless: --unrecorded."
    )


def flat_config(run: Run) -> dict[str, Any]:
    """Return the fields of a run by their dotted names."""
    import yaml

    sections = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    flat: dict[str, Any] = {}
    for section, values in sections.items():
        flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _format(value: Any) -> str:
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
