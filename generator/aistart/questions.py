"""The questions of a template, and the answers that each of them accepts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aistart import naming
from aistart.catalog import Template
from aistart.errors import closest_name

YES, NO = "yes", "no"  # answers to a question whose default is a boolean


@dataclass(frozen=True)
class Question:
    """One question of a template.

    Attributes:
        key: its name.
        prompt: what a person is asked.
        default: the default answer; None if the question has none and must be answered.
        choices: the allowed answers; empty if any text is allowed.
        labels: how choices are shown, by choice.
        only_if: earlier questions, each with the answers for which this one is asked.
        origin: who set the default, where it is not the template's.
        check: raises UsageProblem for an answer that is valid in form but cannot be used here.
        is_plain: whether a plain cookiecutter template asks it: aistart's rules for names do not
            apply, and without an answer its value is null.
    """

    key: str
    prompt: str
    default: str | None
    choices: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    only_if: dict[str, list[str]] = field(default_factory=dict)
    origin: str = ""
    check: Callable[[str], None] = lambda value: None
    is_plain: bool = False

    def problem(self, value: str, dependencies: Iterable[str] = ()) -> str | None:
        """Return why an answer is not accepted, or None if it is.

        Args:
            value: the answer.
            dependencies: packages of the project, whose names its own package cannot have.
        """
        if self.choices:
            return None if value in self.choices else _choice_problem(value, self.choices)
        if self.is_plain:
            return None
        if self.key == "project_name":
            return naming.project_name_problem(value)
        if self.key == "project_slug":
            return naming.folder_problem(value)
        if self.key == "package_name":
            problem = naming.package_problem(value, dependencies)
            return problem and f"{problem}; try {naming.suggest_package(value, dependencies)!r}"
        if self.key == "tracking_uri":
            return naming.server_problem(value)
        return naming.text_problem(value)

    def is_relevant(self, earlier: Mapping[str, str]) -> bool:
        """Whether the question is to be asked after these earlier answers (see ``only_if``)."""
        return all(earlier.get(key) in values for key, values in self.only_if.items())


def questions(template: Template) -> list[Question]:
    """Return the template's questions in the order in which they are asked."""
    declarations = template.declarations
    return [
        _build_question(key, value, declarations, is_plain=template.is_plain)
        for key, value in declarations.items()
        if not key.startswith("_") and not isinstance(value, dict)
    ]


def _build_question(
    key: str, value: Any, declarations: Mapping[str, Any], *, is_plain: bool
) -> Question:
    prompts = declarations.get("__prompts__", {})
    prompt = (prompts.get(key) or key) if isinstance(prompts, dict) else key
    labels: dict[str, str] = {}
    if isinstance(prompt, dict):  # cookiecutter's way to give choices other labels
        labels = {
            choice: _strip_markup(str(label))
            for choice, label in prompt.items()
            if choice != "__prompt__"
        }
        prompt = prompt.get("__prompt__", key)
    question = Question(
        key,
        _strip_markup(str(prompt)),
        default=None,
        labels=labels,
        only_if={} if is_plain else declarations.get("_only_if", {}).get(key, {}),
        is_plain=is_plain,
    )
    if isinstance(value, list):
        choices = tuple(map(str, value))
        return replace(question, default=choices[0], choices=choices)
    if isinstance(value, bool):
        return replace(question, default=YES if value else NO, choices=(YES, NO))
    return question if value is None else replace(question, default=str(value))


def _strip_markup(text: str) -> str:
    """Remove Rich's markup from a prompt; cookiecutter renders it."""
    if "[" not in text:
        return text
    from rich.errors import MarkupError
    from rich.text import Text

    try:
        return Text.from_markup(text).plain
    except MarkupError:
        return text


def _choice_problem(value: str, choices: tuple[str, ...]) -> str:
    suggestion = closest_name(value, choices)
    hint = f"; did you mean {suggestion!r}?" if suggestion else ""
    return f"is not one of: {', '.join(choices)}{hint}"
