"""Descriptions of templates and projects: text for people, objects for scripts."""

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from aistart.answers import render_question
from aistart.catalog import Template
from aistart.errors import AistartError
from aistart.inventory import list_data_sources, list_models
from aistart.layout import terminal_width, wrap
from aistart.profile import FEATURES_TABLE, Profile, ProfileLayer
from aistart.project import ProjectFile, Request
from aistart.questions import Question, questions
from aistart.shell import join_command
from aistart.trust import escape_unprintable


def template_as_object(request: Request, files: list[ProjectFile]) -> dict[str, Any]:
    """Describe a template for ``aistart show --json``.

    Args:
        request: the template's default project.
        files: of that project.
    """
    template, defaults = request.template, request.answers
    return {
        "name": template.name,
        "title": template.title,
        "summary": template.summary,
        "domain": template.domain,
        "questions": [
            {
                "key": question.key,
                "prompt": question.prompt,
                "default": defaults[question.key] if question.default is not None else None,
                "choices": list(question.choices),
            }
            for question in _render_questions(template, defaults)
        ],
        "models": list_models(template),
        "data_sources": list_data_sources(template),
        "features": [
            {
                "name": name,
                "summary": feature.summary,
                "default": feature.default,
                "requires": list(feature.requires),
            }
            for name, feature in template.features.items()
        ],
        "hooks": _hook_names(request),
        "files": [{"path": file.path, "bytes": file.size, "layer": file.layer} for file in files],
    }


def template_as_text(request: Request, files: list[ProjectFile]) -> str:
    """Describe a template for ``aistart show``.

    Args:
        request: the template's default project.
        files: of that project.
    """
    template, defaults = request.template, request.answers
    kind = f" ({template.name}, {template.domain})" if template.domain else ""
    blocks = [f"{wrap(f'{template.title}{kind}')}\n{wrap(template.summary)}".strip()]
    rendered_questions = _render_questions(template, defaults)
    if rendered_questions:
        width = max(len(question.key) for question in rendered_questions)
        rows = [f"{q.key:<{width}}  {_format_default(q, defaults)}" for q in rendered_questions]
        lines = [wrap(row, 2, width + 4) for row in rows]
        blocks.append("\n".join(["Questions, and their defaults:", *lines]))
    for title, names in (("Models", list_models(template)), ("Data", list_data_sources(template))):
        if names:
            blocks.append(f"{title}, the default first:\n{wrap(', '.join(names), 2)}")
    if template.features:
        width = max(map(len, template.features))
        rows = [
            f"{name:<{width}}  {'on ' if feature.default else 'off'}  {feature.full_summary}"
            for name, feature in template.features.items()
        ]
        lines = [wrap(row, 2, width + 9) for row in rows]
        blocks.append("\n".join(["Features (--with NAME, --without NAME):", *lines]))
    blocks.append(f"Files of a default project:\n{format_tree(request, files)}")
    return "\n\n".join(blocks)


def _hook_names(request: Request) -> list[str]:
    return [escape_unprintable(f"hooks/{path.name}") for path in request.hooks]


def format_tree(request: Request, files: list[ProjectFile]) -> str:
    """Format a project's files with sizes and layers, totals for each layer, and its hooks.

    Args:
        request: the project.
        files: of the project; in columns if the terminal is wide enough.
    """
    indent = "  "
    path_width = max((len(file.path) for file in files), default=0)
    layer_width = max((len(file.layer) for file in files), default=0)
    has_columns = len(indent) + path_width + layer_width + 12 <= terminal_width()
    width, size_width = (path_width, 8) if has_columns else (0, 0)
    lines = [
        f"{indent}{file.path:<{width}}  {format_size(file.size):>{size_width}}  {file.layer}"
        for file in files
    ]
    summary = [_format_total(files)]
    by_layer = sorted(files, key=lambda file: file.layer)
    for name, group in groupby(by_layer, key=lambda file: file.layer):
        summary.append(f"{name}: {_format_total(list(group))}")
    if hooks := _hook_names(request):
        summary.append(
            f"The template's hooks, which did not run, may change this: {', '.join(hooks)}"
        )
    return "\n".join([*lines, "", *(f"{indent}{line}" for line in summary)])


def _format_total(files: list[ProjectFile]) -> str:
    count = len(files)
    return f"{count} file{'s' * (count != 1)}, {format_size(sum(file.size for file in files))}"


def format_size(count: int) -> str:
    """Format a number of bytes for people."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def list_profile_keys(profile: Profile, layer: ProfileLayer, request: Request) -> list[str]:
    """Return the keys of one profile whose values are used in a project.

    Args:
        profile: all that are in force.
        layer: one of them; a value that an earlier one overrides is not used.
        request: the project.
    """
    answers, offered = request.answers, request.template.features
    content = layer.content
    keys = [
        key
        for key, value in content.answers.items()
        if answers.get(key) == value and profile.find_layer(key) is layer
    ]
    switches = {**content.features, **dict.fromkeys(content.required, True)}
    return keys + [
        f"{FEATURES_TABLE}.{name}"
        for name, is_on in switches.items()
        if name in offered and (name in request.features) == is_on
    ]


def next_steps(target: Path) -> list[str]:
    """Return the commands to type after a project was created in ``target``."""
    targets = _makefile_targets(target / "Makefile")
    steps = [f"make {name}" for name in ("setup", "train") if name in targets]
    return [join_command("cd", str(target)), *steps]


def _makefile_targets(makefile: Path) -> set[str]:
    """Return the names before a colon in a Makefile; empty if there is no such file."""
    if not makefile.is_file():
        return set()
    text = makefile.read_text(encoding="utf-8", errors="replace")
    rules = re.findall(r"^([^\s#:=][^#:=\n]*):(?![:=]*=)", text, flags=re.MULTILINE)
    return {name for rule in rules for name in rule.split()}


def command_to_repeat(
    request: Request,
    profile: Profile,
    named_profile: str | None = None,
    checkout: str | None = None,
) -> str:
    """Return the command that makes the same project without questions, whatever the profile holds.

    Args:
        request: the project.
        profile: the profiles that were in force; their keys are set explicitly.
        named_profile: the value of ``--profile``, if it was given.
        checkout: commit of the template's repository, if it is in one.
    """
    template, answers = request.template, request.answers
    switches = profile.features.keys() | profile.required.keys()
    words = ["aistart", "new", template.reference]
    name = answers.get(template.name_key or "", "")
    if name and not name.startswith("-"):
        words.append(name)
    words.append("-y")
    options = {
        "-o": None if request.output_dir == Path() else str(request.output_dir),
        "--profile": None if named_profile is None else _repeat_profile(named_profile),
        "--checkout": checkout,
        "--directory": template.directory,
    }
    for option, argument in options.items():
        words += [option, argument] if argument is not None else []
    if not request.repository:
        words.append("--no-git")
    for question in questions(template):
        value, default = answers.get(question.key), _find_default(template, question, answers)
        is_name = question.key == template.name_key
        is_default = value == default and question.key not in profile.answers
        if not is_name and value is not None and not is_default:
            words += ["--set", f"{question.key}={value}"]
    if not template.is_built_in:
        words.append("--trust")
    for feature_name, feature in template.features.items():
        is_on = feature_name in request.features
        if is_on != feature.default or feature_name in switches:
            words += ["--with" if is_on else "--without", feature_name]
    if name.startswith("-"):
        words += ["--", name]
    return join_command(*words)


def _repeat_profile(named: str) -> str:
    """Return the value of ``--profile`` for the same profile in any folder, signed off or not."""
    from aistart.profile.reference import parse_reference

    reference = parse_reference(named)
    digest = reference.sha256 or _find_hash(reference.address)
    return reference.absolute + (f"#sha256={digest}" if digest else "")


def _find_hash(address: str) -> str | None:
    """Return the hash of the team's profile, if it is in use and at this address."""
    from aistart.profile import team

    in_use = team.find()
    return in_use.sha256 if in_use and in_use.address == address else None


def _find_default(template: Template, question: Question, answers: Mapping[str, str]) -> str | None:
    """Return the template's default, or None if it fails to render, as an unused one may."""
    try:
        return render_question(template, question, answers).default
    except AistartError:
        return None


def _render_questions(template: Template, answers: Mapping[str, str]) -> list[Question]:
    return [render_question(template, question, answers) for question in questions(template)]


def _format_default(question: Question, defaults: Mapping[str, str]) -> str:
    if question.default is None:
        return "(null)" if question.is_plain else "(must be answered)"
    default = defaults[question.key] or "(empty)"
    others = [choice for choice in question.choices if choice != default]
    return f"{default} (or {', '.join(others)})" if others else default
