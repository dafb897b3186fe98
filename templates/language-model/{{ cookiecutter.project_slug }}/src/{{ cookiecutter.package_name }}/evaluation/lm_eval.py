"""EleutherAI's lm-eval on an exported model: ``python -m PACKAGE.evaluation.lm_eval FOLDER``.

Its tasks (HellaSwag, MMLU, …) compare a model with published ones. The folder is one that
``export --format huggingface`` wrote. Install it where PyTorch is (``pip install lm-eval torch
transformers``); it downloads the tasks' data, and this project does not depend on it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..engine.errors import ProjectError, UsageProblem, run_command

FILES = ("config.json", "tokenizer.json")  # that a folder must have


def make_command(
    folder: Path, tasks: list[str], limit: int | None = None, batch_size: int = 8
) -> list[str]:
    """Return the words of lm-eval's own command line for an exported model.

    Args:
        folder: of the model, in Hugging Face's form.
        tasks: by lm-eval's names.
        limit: examples of each task; None: all.
        batch_size: of its requests.

    Raises:
        UsageProblem: there is no such folder, or no task.
    """
    _check(folder, tasks)
    limits = [] if limit is None else ["--limit", str(limit)]
    return [
        *("lm_eval", "--model", "hf", "--model_args", _describe(folder)),
        *("--tasks", ",".join(tasks), "--batch_size", str(batch_size), *limits),
    ]


def evaluate(
    folder: Path, tasks: list[str], limit: int | None = None, batch_size: int = 8
) -> dict[str, Any]:
    """Return lm-eval's results of an exported model, by task.

    Args:
        folder: of the model, in Hugging Face's form.
        tasks: by lm-eval's names.
        limit: examples of each task; None: all.
        batch_size: of its requests.

    Raises:
        UsageProblem: there is no such folder, or no task.
        ProjectError: lm-eval is not installed.
    """
    _check(folder, tasks)
    try:
        import lm_eval
    except ImportError:
        raise ProjectError(
            "lm-eval is not installed: pip install lm-eval torch transformers."
        ) from None
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args=_describe(folder),
        tasks=tasks,
        limit=limit,
        batch_size=batch_size,
    )
    return dict(found["results"])


def _describe(folder: Path) -> str:
    return f"pretrained={folder},dtype=float32"


def _check(folder: Path, tasks: list[str]) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UsageProblem(
            f"FOLDER: {str(folder)!r} has no {missing[0]}; write one with export --format "
            "huggingface."
        )
    if "," in str(folder):
        raise UsageProblem(f"FOLDER: {str(folder)!r} has a comma, which lm-eval cannot read.")
    if not tasks:
        raise UsageProblem("--tasks: expected names of lm-eval's tasks, separated by commas.")


def main(words: list[str]) -> None:
    """Print lm-eval's results as JSON."""
    parser = argparse.ArgumentParser(prog="lm_eval", description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--tasks", default="hellaswag", help="separated by commas")
    parser.add_argument("--limit", type=int, help="examples of each task (default: all)")
    parser.add_argument("--batch-size", type=int, default=8)
    found = parser.parse_args(words)
    tasks = [name for name in found.tasks.split(",") if name]
    results = evaluate(found.folder, tasks, found.limit, found.batch_size)
    print(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
