"""``export [--run …] [--format … [--quantize …]] [--prune SHARE | --distill MODEL]``.

The model is loaded by Keras on TensorFlow, whatever backend trained it, written to a folder beside
the target, compared there with the trained model, and only then renamed. A project may bring
formats of its own, which take the place of those in ``formats.py``: ``export --format …``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from .. import strategy
from ..commands import Project
from ..config_fields import RuntimeFields
from ..config_loader import Parser
from ..errors import UsageProblem
from ..files import project_root
from ..runs import Run, find_run, is_model_uri
from .formats import FORMATS, QUANTIZATIONS, Export, Format, OwnFormat, find_format

MARK = "report.json"  # in a folder that this command has written


def run(project: Project, words: list[str]) -> None:
    """Export a trained model, or train a smaller one from it, as the words say."""
    arguments, fields = make_parser(project.exports).parse_known_args(words)
    if project.exports:
        _export_own(project, arguments, fields)
        return
    target_format = check_arguments(arguments)
    if arguments.prune or arguments.distill:
        from .compress import compress

        compress(project, arguments, fields)
        return
    if target_format is None:
        raise UsageProblem(f"--format: which one? Allowed: {', '.join(FORMATS)}.")
    requested = project.load_config(fields)
    trained = None if is_model_uri(arguments.run) else find_run(arguments.run)
    target = arguments.output or default_folder(arguments, trained)
    # Before Keras is imported. Converters know the graphs of TensorFlow alone.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    strategy.prepare(RuntimeFields(backend="tensorflow"))
    task = project.load_task()
    from ..trained_models import find_artifact
    from .write import Request, export

    model, config_file = find_artifact(arguments.run, task, requested)
    config = project.load_config(fields, base=config_file)
    request = Request(
        name=trained.id if trained else arguments.run,
        original=config_file.with_name("model.keras"),
        format_name=arguments.format,
        quantization=arguments.quantize,
        max_drop=arguments.max_drop,
    )
    data = task.load(config, model.preprocessing)
    comparison = export(model, data, target_format, request, target)
    for line in comparison.table():
        print(line)
    print(f"exported: {target}")


def _export_own(project: Project, arguments: argparse.Namespace, fields: list[str]) -> None:
    """Export a trained model in a format of the project's own."""
    if arguments.format is None:
        raise UsageProblem(f"--format: which one? Allowed: {', '.join(project.exports)}.")
    if arguments.output:
        check_target(arguments.output)
    requested = project.load_config(fields)
    trained = None if is_model_uri(arguments.run) else find_run(arguments.run)
    target = arguments.output or default_folder(arguments, trained)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    strategy.prepare(RuntimeFields(backend="tensorflow"))
    task = project.load_task()
    from ..trained_models import find_artifact
    from .write import export_own

    model, config_file = find_artifact(arguments.run, task, requested)
    config = project.load_config(fields, base=config_file)
    export = Export(model, config, trained.id if trained else arguments.run)
    for line in export_own(export, arguments.format, project.exports[arguments.format], target):
        print(line)
    print(f"exported: {target}")


def make_parser(own_formats: Mapping[str, OwnFormat]) -> Parser:
    """Return the parser of the command's flags; other words are fields of the configuration.

    Args:
        own_formats: those that the project brings, for which the other flags mean nothing.
    """
    parser = Parser(
        prog="export",
        description="Export a trained model; fields such as --data.path override the run's own.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", default="latest", help="latest, a run's id or an MLflow model URI")
    summaries = "; ".join(f"{name}: {own.summary}" for name, own in own_formats.items())
    parser.add_argument(
        "--format", choices=tuple(own_formats or FORMATS), help=summaries or "what reads the model"
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where it goes (default: export/FORMAT in the folder of the run)",
    )
    parser.set_defaults(quantize=None)
    if not own_formats:
        _add_sizes(parser)
    return parser


def _add_sizes(parser: Parser) -> None:
    """Add the flags for smaller models."""
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        help="int8: weights and values; dynamic: weights, and values where that is faster; "
        "float16: half the size (default: float32)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="how much worse a quantised model may be in the metric that matters most (0.02)",
    )
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument(
        "--prune",
        type=_share,
        metavar="SHARE",
        help="first set this share of the weights to zero and train the others on, in a new run",
    )
    smaller.add_argument(
        "--distill",
        metavar="MODEL",
        help="first train this model of MODELS in registry.py with the outputs of the run's model",
    )


def check_arguments(arguments: argparse.Namespace) -> Format | None:
    """Return the format that is asked for, before anything is trained or written for it.

    Raises:
        UsageProblem: flags contradict each other, or the target is no place for an export.
        ProjectError: packages are missing.
    """
    if arguments.format is None:
        for name in ("quantize", "output"):
            if getattr(arguments, name) is not None:
                raise UsageProblem(f"--{name}: it needs --format: {', '.join(FORMATS)}.")
        return None
    if arguments.output:
        check_target(arguments.output)
    return find_format(arguments.format, arguments.quantize)


def default_folder(arguments: argparse.Namespace, trained: Run | None) -> Path:
    """Return where an export goes unless the user says it.

    Args:
        arguments: of the command.
        trained: the run, or None for a model of a registry.
    """
    name = "-".join(filter(None, (arguments.format, arguments.quantize)))
    if trained:
        return trained.path / "export" / name
    model = "".join(letter if letter.isalnum() else "_" for letter in arguments.run)
    return project_root() / "exports" / model / name


def check_target(target: Path) -> None:
    """Refuse a folder that has other things in it than an export.

    Raises:
        UsageProblem: it is a file, or a folder that this command has not written.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageProblem(f"--output: {str(target)!r} is not a folder.")
    if target.is_dir() and any(target.iterdir()) and not (target / MARK).is_file():
        raise UsageProblem(f"--output: {str(target)!r} is not empty, and no export.")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: a number, more than 0 and less than 1"
        )
    return share
