"""What the user wants: a value for each question of a template, validated before use.

An answer's text is data. Only a template's own default may be an expression over earlier answers,
and what it yields is not evaluated again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aistart import naming
from aistart.catalog import Template
from aistart.errors import UsageProblem, unknown
from aistart.render import render_text


@dataclass(frozen=True)
class Question:
    """One question: its key, what a person is asked, and its default or choices."""

    key: str
    prompt: str
    default: str
    choices: tuple[str, ...] = ()

    def problem(self, value: str, dependencies: Iterable[str] = ()) -> str | None:
        """Why the value is not accepted, or None if it is."""
        if self.choices:
            allowed = ", ".join(self.choices)
            return None if value in self.choices else f"is not one of: {allowed}"
        if self.key == "project_name":
            return naming.project_name_problem(value)
        if self.key == "project_slug":
            return naming.folder_problem(value)
        if self.key == "package_name":
            problem = naming.package_problem(value, dependencies)
            return problem and f"{problem}; try {naming.suggest_package(value, dependencies)!r}"
        return naming.text_problem(value)


Ask = Callable[[Question, Callable[[str], str | None]], str]


def questions(template: Template) -> list[Question]:
    """The template's questions in the order in which they are asked."""
    declared = template.declarations
    prompts = declared.get("__prompts__", {})
    return [
        _question(key, value, prompts.get(key, key))
        for key, value in declared.items()
        if not key.startswith("_")
    ]


def resolve(template: Template, given: Mapping[str, str], ask: Ask | None = None) -> dict[str, str]:
    """Answer every question: from ``given``, else by asking, else with the default.

    Raises:
        UsageProblem: a key is unknown or a value is not allowed.
    """
    asked = questions(template)
    for key in given:
        if key not in {question.key for question in asked}:
            raise unknown("question", key, [question.key for question in asked])
    dependencies = template.distributions
    answers: dict[str, str] = {}
    for question in asked:
        answers[question.key] = _answer(question, given, answers, dependencies, ask)
    return answers


def _answer(
    question: Question,
    given: Mapping[str, str],
    earlier: dict[str, str],
    dependencies: Iterable[str],
    ask: Ask | None,
) -> str:
    def problem(value: str) -> str | None:
        return question.problem(value, dependencies)

    if question.key in given:
        value = given[question.key]
    else:
        default = render_text(question.default, earlier)
        question = Question(question.key, question.prompt, default, question.choices)
        value = ask(question, problem) if ask else default
    if found := problem(value):
        raise UsageProblem(f"{question.key}: {value!r} {found}.")
    return value


def _question(key: str, value: Any, prompt: Any) -> Question:
    if isinstance(value, list):
        return Question(key, str(prompt), str(value[0]), tuple(map(str, value)))
    return Question(key, str(prompt), str(value))
