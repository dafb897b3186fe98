"""Expressions of a template, rendered over answers; the text of an answer is never evaluated."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.naming import folder_problem
from aistart.questions import YES
from aistart.render.foreign_code import allow_imports_from, convert_errors

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(template: Template, text: str, answers: Mapping[str, str]) -> str:
    """Render a text of a template.

    Args:
        template: whose text it is.
        text: with expressions over ``cookiecutter``, or without any.
        answers: to all questions, or to the first ones.

    Raises:
        AistartError: the text does not render.
    """
    if "{" not in text and "_jinja2_env_vars" not in template.declarations:
        return text
    with convert_errors(), allow_imports_from(template.own_layer.path):
        environment = _make_environment(template)
        values = _evaluate(template.declarations, answers, environment)
        return str(environment.from_string(text).render(cookiecutter=values))


def project_folder_name(template: Template, answers: Mapping[str, str]) -> str:
    """Render the name of the project's folder.

    Args:
        template: the project's template.
        answers: to all questions.

    Raises:
        UsageProblem: no folder can have this name.
    """
    name = render_text(template, template.own_layer.project.name, answers)
    if template.is_plain:  # its names are free, as long as they name one folder here
        is_path = name in ("", ".", "..") or any(character in name for character in "/\\\0")
        problem = "is not the name of one folder" if is_path else None
    else:
        problem = folder_problem(name)
    if problem:
        raise UsageProblem(f"project folder: {name!r} {problem}.")
    return name


def evaluate_declarations(
    template: Template, declarations: Mapping[str, Any], answers: Mapping[str, str]
) -> dict[str, Any]:
    """Return what templates see as ``cookiecutter``, with the same types as in cookiecutter.

    Answers have the type of their declaration, ``_x`` is as declared, ``__x`` and objects are
    rendered. A plain template's null without an answer stays null.

    Args:
        template: whose Jinja environment renders the expressions.
        declarations: the merged manifests of all layers.
        answers: to all questions.

    Raises:
        AistartError: an expression does not render.
    """
    with convert_errors(), allow_imports_from(template.own_layer.path):
        return _evaluate(declarations, answers, _make_environment(template))


def apply_answers(template: Template, answers: Mapping[str, str]) -> dict[str, Any]:
    """Return cookiecutter's ``_cookiecutter``: a plain template's unrendered questions, each with
    the given answer in place of its default, where they differ.

    Args:
        template: a plain template.
        answers: to all its questions.
    """
    values = {k: value for k, value in template.declarations.items() if not k.startswith("_")}

    def renders_to(value: Any, answer: str) -> bool:
        try:
            return render_text(template, str(value), answers) == answer
        except AistartError:  # a default that was not needed may fail to render
            return False

    for key, answer in answers.items():
        value = values[key]
        if isinstance(value, bool):
            values[key] = answer == YES
        elif isinstance(value, list):  # the chosen option first, as in cookiecutter
            values[key] = sorted(value, key=lambda option: not renders_to(option, answer))
        elif value is None or not renders_to(value, answer):
            values[key] = answer
    return values


def add_extensions(declarations: Mapping[str, Any]) -> dict[str, Any]:
    """Add aistart's Jinja extensions before those that a template declares."""
    return {**declarations, "_extensions": [*EXTENSIONS, *declarations.get("_extensions", [])]}


@cache
def _make_environment(template: Template) -> Any:
    from cookiecutter.utils import create_env_with_context

    declarations = template.declarations
    # A plain template gets nothing that cookiecutter alone would not give it.
    context = declarations if template.is_plain else add_extensions(declarations)
    with allow_imports_from(template.own_layer.path):
        return create_env_with_context({"cookiecutter": context})


def _evaluate(
    declarations: Mapping[str, Any], answers: Mapping[str, str], environment: Any
) -> dict[str, Any]:
    """As ``evaluate_declarations``; where answers end, later declarations are left out."""
    values: dict[str, Any] = {k: value for k, value in declarations.items() if k.startswith("_")}
    objects = []
    for key, value in declarations.items():
        if key.startswith("__") and key != "__prompts__":
            values[key] = _render_value(value, values, environment)
        elif key.startswith("_"):
            continue
        elif isinstance(value, dict):
            objects.append(key)
        elif key in answers:
            values[key] = _convert_answer(answers[key], value, values, environment)
        elif value is None:
            values[key] = None
        else:
            return values
    return values | {key: _render_value(declarations[key], values, environment) for key in objects}


def _convert_answer(answer: str, declaration: Any, values: dict[str, Any], environment: Any) -> Any:
    """Convert an answer to the type of its declaration: a choice may be a boolean or a number."""
    if isinstance(declaration, bool):
        return answer == YES
    if not isinstance(declaration, list):
        return answer
    others = [option for option in declaration if not isinstance(option, str)]
    options = (_render_value(option, values, environment) for option in others)
    return next((option for option in options if str(option) == answer), answer)


def _render_value(value: Any, values: dict[str, Any], environment: Any) -> Any:
    from cookiecutter.prompt import render_variable  # slow: it imports Rich's console

    return render_variable(environment, value, values)
