"""What a template asks, and which answers it accepts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aistart import naming
from aistart.catalog import Template
from aistart.errors import nearest

YES, NO = "yes", "no"  # answers to a question whose default is a boolean


@dataclass(frozen=True)
class Question:
    """One question of a template.

    Attributes:
        key: its name.
        prompt: what a person is asked.
        default: a text; None: it must be answered.
        choices: the values that are allowed; none: any text.
        labels: how choices are shown, by value.
        only_if: earlier question -> answers with which this one is asked.
        origin: who gave the default, if not the template.
        check: raises UsageProblem for a value that is well formed and still cannot be.
        is_plain: whether a plain template asks: our rules for names are not its own, and what is
            not answered is null.
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
        """Why the value is not accepted, or None if it is."""
        if self.choices:
            return None if value in self.choices else _not_one_of(value, self.choices)
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

    def matters(self, earlier: Mapping[str, str]) -> bool:
        """Whether the earlier answers leave something to be asked."""
        return all(earlier.get(key) in values for key, values in self.only_if.items())


def questions(template: Template) -> list[Question]:
    """The template's questions in the order in which they are asked."""
    declared = template.declarations
    return [
        _question(key, value, declared, plain=template.is_plain)
        for key, value in declared.items()
        if not key.startswith("_") and not isinstance(value, dict)
    ]


def _question(key: str, value: Any, declared: Mapping[str, Any], *, plain: bool) -> Question:
    prompts = declared.get("__prompts__", {})
    prompt = (prompts.get(key) or key) if isinstance(prompts, dict) else key
    labels: dict[str, str] = {}
    if isinstance(prompt, dict):  # cookiecutter's way to show choices by other words
        labels = {
            choice: _plain(str(said)) for choice, said in prompt.items() if choice != "__prompt__"
        }
        prompt = prompt.get("__prompt__", key)
    question = Question(
        key,
        _plain(str(prompt)),
        default=None,
        labels=labels,
        only_if={} if plain else declared.get("_only_if", {}).get(key, {}),
        is_plain=plain,
    )
    if isinstance(value, list):
        choices = tuple(map(str, value))
        return replace(question, default=choices[0], choices=choices)
    if isinstance(value, bool):
        usual = YES if value else NO
        return replace(question, default=usual, choices=(YES, NO))
    return question if value is None else replace(question, default=str(value))


def _plain(text: str) -> str:
    """A prompt without the markup of Rich, in which cookiecutter shows it."""
    if "[" not in text:
        return text
    from rich.errors import MarkupError
    from rich.text import Text

    try:
        return Text.from_markup(text).plain
    except MarkupError:
        return text


def _not_one_of(value: str, choices: tuple[str, ...]) -> str:
    near = nearest(value, choices)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"is not one of: {', '.join(choices)}{hint}"
