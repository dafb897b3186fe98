"""Training a smaller model from a run, and how it compares with it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from .. import PACKAGE, logs, strategy
from ..commands import Project
from ..errors import ProjectError, UsageProblem
from ..extensions import find_training_sections
from ..files import write_json
from ..runs import Run, find_run, is_model_uri

REPORT = "compression.json"  # in the folder of the new run


def compress(project: Project, arguments: argparse.Namespace, fields: list[str]) -> None:
    """Train the smaller model as a usual run, and export it if a format is given.

    Args:
        project: trains it.
        arguments: of the command: ``prune`` or ``distill``.
        fields: of the configuration, such as ``--train.epochs 5``.

    Raises:
        UsageProblem: the run's model cannot be made smaller so.
    """
    if is_model_uri(arguments.run):
        raise UsageProblem(f"--run: {arguments.run!r} has no run here to compare with; name a run.")
    original = find_run(arguments.run)
    words = [*_words(original, arguments), *fields]
    config = project.load_config(
        words, base=original.config_file, sections=find_training_sections()
    )
    with logs.log_to_console():
        strategy.prepare(config.runtime)
        summary = project.load_train()(config, None, False, "test")
    if summary is None:  # of another worker than the chief
        return
    smaller = find_run(summary["run_id"])
    comparison = compare(project, original, smaller)
    write_json(smaller.path / REPORT, comparison)
    print_comparison(comparison)
    if arguments.format:
        _export(smaller, arguments)


def _words(original: Run, arguments: argparse.Namespace) -> list[str]:
    """Return the fields in which the new run differs from the original."""
    if arguments.prune:
        return [
            *("--train.init_from", original.id, "--compress.teacher", "null"),
            *("--compress.sparsity", str(arguments.prune)),
        ]
    return [
        *("--model.name", arguments.distill, "--train.init_from", "null"),
        *("--compress.teacher", original.id, "--compress.sparsity", "null"),
    ]


def compare(project: Project, original: Run, smaller: Run) -> dict[str, Any]:
    """Return metrics, sizes and speeds of both runs' models.

    Args:
        project: loads the task.
        original: the run of the larger model.
        smaller: the run that was trained from it.
    """
    return {
        "original": _measure(project, original),
        "smaller": _measure(project, smaller),
    }


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print a table of both models.

    Args:
        comparison: see ``compare``.
    """
    models = comparison["original"], comparison["smaller"]
    names = [name for name in models[0]["metrics"] if name in models[1]["metrics"]]
    rows = [
        ("", [model["run"] for model in models]),
        *((name, [f"{model['metrics'][name]:.4f}" for model in models]) for name in names),
        ("size, kB", [f"{model['bytes'] / 1e3:,.0f}" for model in models]),
        ("zipped, kB", [f"{model['zipped_bytes'] / 1e3:,.0f}" for model in models]),
        ("one example, ms", [f"{model['milliseconds']:.3g}" for model in models]),
    ]
    width = max(len(title) for title, _ in rows)
    for title, (original, smaller) in rows:
        print(f"{title:<{width}}  {original:>22}  {smaller:>22}")


def _measure(project: Project, run: Run) -> dict[str, Any]:
    from ..artifact import load
    from .check import measure_speed
    from .source import Source

    source = Source(load(run.model_file, project.load_task()))
    import tensorflow as tf

    raw = source.examples.fetch(tf.constant([0], tf.int64))
    inputs = source.prepare(raw)
    summary = run.summary
    if summary is None:
        raise ProjectError(f"{run.id}: it is not finished.")
    return {
        "run": run.id,
        "model": summary["model"],
        "metrics": summary["metrics"],
        "bytes": run.model_file.stat().st_size,
        "zipped_bytes": measure_zipped_size(run.model_file),
        "milliseconds": measure_speed(lambda: source.run(inputs)),
    }


def measure_zipped_size(file: Path) -> int:
    """Return the bytes of a file once it is compressed."""
    packer, size = zlib.compressobj(), 0
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            size += len(packer.compress(part))
    return size + len(packer.flush())


def _export(run: Run, arguments: argparse.Namespace) -> None:
    """Export the new run in a process of its own: it may have been trained on another backend."""
    words = ["export", "--run", run.id, "--format", arguments.format]
    words += ["--max-drop", str(arguments.max_drop)]
    words += ["--quantize", arguments.quantize] if arguments.quantize else []
    words += ["--output", str(arguments.output)] if arguments.output else []
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-m", PACKAGE, *words], env=environment).returncode
    if code:
        raise ProjectError("the smaller model is trained, but not exported; see above.")
