"""Look at a file or folder of one's own data, say what is in it, and write a configuration.

    python -m PACKAGE.inspect_data PATH

What it finds is the domain's to say (``inspection.py``); ``configs/my_data.yaml`` then trains on
it as it is.
"""

import sys
from pathlib import Path

from . import distribution
from .config import Parser, load_config
from .errors import DataProblem, UsageProblem, command
from .files import project_root, write_text
from .findings import Findings


def to_yaml(findings: Findings, path: Path) -> str:
    """The configuration that trains on what was found, with what a person should know."""
    import yaml

    comments = [f"# {text}" for text in (f"Written for {path.name}.", *findings.warnings)]
    fields = yaml.safe_dump({"data": findings.fields}, sort_keys=False, allow_unicode=True)
    return "\n".join(comments) + "\n" + fields


def show(findings: Findings) -> None:
    """Print what was found, a line each, warnings last."""
    width = max(len(name) for name, _ in findings.facts)
    for name, text in findings.facts:
        print(f"{name:<{width}}  {text}")
    for warning in findings.warnings:
        print(f"warning: {warning}")


@command
def main(argv: list[str]) -> None:
    """``inspect_data PATH [--output FILE] [--data.label_column …]``."""
    parser = Parser(
        prog="inspect_data",
        description="Look at your data and write a configuration that trains on it; fields such "
        "as --data.label_column say what it should not guess.",
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, help="file or folder")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=project_root() / "configs" / "my_data.yaml",
        help="where the configuration goes (configs/my_data.yaml)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    arguments, words = parser.parse_known_args(argv)
    _refuse_existing(arguments.output, arguments.force)
    if not arguments.path.exists():
        raise DataProblem(f"PATH: {str(arguments.path)!r} does not exist.")
    config = load_config(words)
    given = {word.split("=")[0].removeprefix("--data.") for word in words if word.startswith("--")}
    distribution.prepare(config.runtime)
    from .inspection import inspect

    findings = inspect(arguments.path, config, given)
    show(findings)
    beside = _beside(arguments.output, findings)
    for path in beside:
        _refuse_existing(path, arguments.force)
    for path, text in beside.items():
        write_text(path, text)
        print(f"\nWritten to {_shown(path)}. Read and correct it before you train.")
    write_text(arguments.output, to_yaml(findings, arguments.path))
    shown = _shown(arguments.output)
    print(f"\nWritten to {shown}. To train on it:  train --config {shown}")


def _beside(output: Path, findings: Findings) -> dict[Path, str]:
    """Texts that are written beside the configuration, which gets their paths."""
    texts = {}
    for field, (ending, text) in findings.beside.items():
        path = output.with_name(output.stem + ending)
        findings.fields[field] = str(_shown(path))
        texts[path] = text
    return texts


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageProblem(f"--output: {str(path)!r} exists; --force replaces it.")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
