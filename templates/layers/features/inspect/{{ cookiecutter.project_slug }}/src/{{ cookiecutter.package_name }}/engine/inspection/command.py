"""``inspect PATH [--output FILE] [--data.label_column …]``.

The domain finds what is in the data (``Task.inspect``); the configuration that is written,
``configs/my_data.yaml``, then trains on it as it is.
"""

from pathlib import Path

from .. import strategy
from ..commands import Project
from ..config_loader import Parser
from ..errors import DataProblem, UsageProblem
from ..extensions import call_hooks
from ..files import project_root, write_text
from ..findings import Findings, Inspection


def run(project: Project, words: list[str]) -> None:
    """Describe a file or folder of one's own data and write a configuration for it."""
    parser = Parser(
        prog="inspect",
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
    arguments, fields = parser.parse_known_args(words)
    _refuse_existing(arguments.output, arguments.force)
    if not arguments.path.exists():
        raise DataProblem(f"PATH: {str(arguments.path)!r} does not exist.")
    config = project.load_config(fields)
    given = {word.split("=")[0].removeprefix("--data.") for word in fields if word.startswith("--")}
    strategy.prepare(config.runtime)
    task = project.load_task()
    if task.inspect is None:
        raise UsageProblem("inspect: task.py names no function for 'inspect'.")
    findings = task.inspect(arguments.path, config, given)
    show(findings)
    beside = _name_files(arguments.output, findings)
    for path in beside:
        _refuse_existing(path, arguments.force)
    for path, text in beside.items():
        write_text(path, text)
        print(f"\nWritten to {_shorten(path)}. Read and correct it before you train.")
    write_text(arguments.output, to_yaml(findings, arguments.path))
    path = _shorten(arguments.output)
    print(f"\nWritten to {path}. To train on it:  train --config {path}")
    config = project.load_config(fields, base=arguments.output)
    call_hooks(
        "after_inspection", Inspection(findings, arguments.path, arguments.output, task, config)
    )


def to_yaml(findings: Findings, path: Path) -> str:
    """Return the configuration that trains on what was found, with the warnings as comments."""
    import yaml

    comments = [f"# {text}" for text in (f"Written for {path.name}.", *findings.warnings)]
    fields = yaml.safe_dump({"data": findings.fields}, sort_keys=False, allow_unicode=True)
    return "\n".join(comments) + "\n" + fields


def show(findings: Findings) -> None:
    """Print facts, a line each, then warnings."""
    width = max(len(name) for name, _ in findings.facts)
    for name, text in findings.facts:
        print(f"{name:<{width}}  {text}")
    for warning in findings.warnings:
        print(f"warning: {warning}")


def _name_files(output: Path, findings: Findings) -> dict[Path, str]:
    """Return texts to write beside the configuration by path; its fields get the paths."""
    texts = {}
    for field, (ending, text) in findings.beside.items():
        path = output.with_name(output.stem + ending)
        findings.fields[field] = str(_shorten(path))
        texts[path] = text
    return texts


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageProblem(f"--output: {str(path)!r} exists; --force replaces it.")


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
