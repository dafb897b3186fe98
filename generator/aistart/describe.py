"""What is said of templates and projects, as text for people and as objects for scripts."""

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from aistart import inventory
from aistart.answers import rendered
from aistart.catalog import Template
from aistart.errors import AistartError
from aistart.layout import columns, wrapped
from aistart.profile import FEATURES, Profile
from aistart.project import File, Request
from aistart.questions import Question, questions
from aistart.shell import quoted
from aistart.trust import printable


def template_as_object(request: Request, files: list[File]) -> dict[str, Any]:
    """All that ``aistart show --json`` says.

    Args:
        request: of somebody who answers nothing.
        files: of the project that comes of it.
    """
    template, defaults = request.template, request.answers
    return {
        "name": template.name,
        "title": template.title,
        "summary": template.summary,
        "domain": template.domain,
        "questions": [
            {
                "key": q.key,
                "prompt": q.prompt,
                "default": defaults[q.key] if q.default is not None else None,
                "choices": list(q.choices),
            }
            for q in _rendered_questions(template, defaults)
        ],
        "models": inventory.models(template),
        "data_sources": inventory.data_sources(template),
        "features": [
            {"name": name, "summary": feature.summary, "default": feature.default}
            for name, feature in template.features.items()
        ],
        "hooks": _hooks(request),
        "files": [{"path": file.path, "bytes": file.size, "layer": file.layer} for file in files],
    }


def template_as_text(request: Request, files: list[File]) -> str:
    """All that ``aistart show`` says; the arguments are those of ``template_as_object``."""
    template, defaults = request.template, request.answers
    kind = f" ({template.name}, {template.domain})" if template.domain else ""
    blocks = [f"{wrapped(f'{template.title}{kind}')}\n{wrapped(template.summary)}".strip()]
    asked = _rendered_questions(template, defaults)
    if asked:
        width = max(len(question.key) for question in asked)
        said = [f"{q.key:<{width}}  {_default_of(q, defaults)}" for q in asked]
        lines = [wrapped(text, 2, width + 4) for text in said]
        blocks.append("\n".join(["Questions, and their defaults:", *lines]))
    held = {"Models": inventory.models(template), "Data": inventory.data_sources(template)}
    for title, names in held.items():
        if names:
            listed = wrapped(", ".join(names), 2)
            blocks.append(f"{title}, the default first:\n{listed}")
    if template.features:
        width = max(map(len, template.features))
        said = [
            f"{name:<{width}}  {'on ' if feature.default else 'off'}  {feature.summary}"
            for name, feature in template.features.items()
        ]
        lines = [wrapped(text, 2, width + 9) for text in said]
        blocks.append("\n".join(["Features (--with NAME, --without NAME):", *lines]))
    blocks.append(f"Files of a default project:\n{tree(request, files)}")
    return "\n\n".join(blocks)


def _hooks(request: Request) -> list[str]:
    return [printable(f"hooks/{path.name}") for path in request.hooks]


def tree(request: Request, files: list[File]) -> str:
    """Files by folder with sizes, and what each layer brings, in columns if there is room; and what
    may change them before the project is made."""
    indent = "  "
    width = max((len(f.path) for f in files), default=0)
    longest = max((len(f.layer) for f in files), default=0)
    width = width if len(indent) + width + longest + 12 <= columns() else 0
    lines = [
        f"{indent}{f.path:<{width}}  {size(f.size):>{8 if width else 0}}  {f.layer}" for f in files
    ]
    layers = groupby(sorted(files, key=lambda file: file.layer), key=lambda file: file.layer)
    total = sum(file.size for file in files)
    summary = [f"{_counted(files)}, {size(total)}"]
    for name, group in layers:
        held = list(group)
        summary.append(f"{name}: {_counted(held)}, {size(sum(f.size for f in held))}")
    if hooks := _hooks(request):
        summary.append(
            f"The template's hooks, which did not run, may change this: {', '.join(hooks)}"
        )
    return "\n".join([*lines, "", *(f"{indent}{line}" for line in summary)])


def _counted(files: list[File]) -> str:
    return f"{len(files)} file{'s' * (len(files) != 1)}"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def taken_from(profile: Profile, request: Request) -> list[str]:
    """What of a profile is in a project, as the profile names it."""
    answers, offered = request.answers, request.template.features
    taken = [key for key, value in profile.answers.items() if answers.get(key) == value]
    return taken + [
        f"{FEATURES}.{name}"
        for name, is_on in profile.features.items()
        if name in offered and (name in request.features) == is_on
    ]


def next_steps(target: Path, template: Template) -> list[str]:
    """Commands to type next, for the shell at hand."""
    has = _targets(target / "Makefile")
    steps = [f"make {name}" for name in ("setup", "train") if name in has]
    return [quoted("cd", str(target)), *steps]


def _targets(makefile: Path) -> set[str]:
    """Names that stand before a colon in a Makefile; none if there is no such file."""
    if not makefile.is_file():
        return set()
    text = makefile.read_text(encoding="utf-8", errors="replace")
    rules = re.findall(r"^([^\s#:=][^#:=\n]*):(?![:=]*=)", text, flags=re.MULTILINE)
    return {name for rule in rules for name in rule.split()}


def same_again(
    request: Request,
    profile: Profile,
    profile_file: Path | None = None,
    checkout: str | None = None,
) -> str:
    """The command that makes the same project without questions, whatever the profile says.

    Args:
        profile_file: of the profile, if it was given.
        checkout: commit of the template's repository.
    """
    template, answers = request.template, request.answers
    words = ["aistart", "new", template.word]
    name_given = answers.get(template.name_key or "", "")
    if name_given and not name_given.startswith("-"):
        words.append(name_given)
    words.append("-y")
    folder = None if request.output_dir == Path() else str(request.output_dir)
    given_options = {
        "-o": folder,
        "--profile": None if profile_file is None else str(profile_file.absolute()),
        "--checkout": checkout,
        "--directory": template.directory,
    }
    for name, given in given_options.items():
        words += [name, given] if given is not None else []
    if not request.repository:
        words.append("--no-git")
    for question in questions(template):
        value, default = answers.get(question.key), _usual(template, question, answers)
        is_name = question.key == template.name_key
        if (
            not is_name
            and value is not None
            and (value != default or question.key in profile.answers)
        ):
            words += ["--set", f"{question.key}={value}"]
    if not template.built_in:
        words.append("--trust")
    for name, feature in template.features.items():
        chosen = name in request.features
        if chosen != feature.default or name in profile.features:
            words += ["--with" if chosen else "--without", name]
    if name_given.startswith("-"):
        words += ["--", name_given]
    return quoted(*words)


def _usual(template: Template, question: Question, answers: Mapping[str, str]) -> str | None:
    """The template's default, unless it does not render, which it need not where it is answered."""
    try:
        return rendered(template, question, answers).default
    except AistartError:
        return None


def _rendered_questions(template: Template, answers: Mapping[str, str]) -> list[Question]:
    return [rendered(template, question, answers) for question in questions(template)]


def _default_of(question: Question, defaults: Mapping[str, str]) -> str:
    if question.default is None:
        return "(null)" if question.is_plain else "(must be answered)"
    default = defaults[question.key] or "(empty)"
    others = [choice for choice in question.choices if choice != default]
    return f"{default} (or {', '.join(others)})" if others else default
