"""Answers to a template's questions, and the choice of its features; all are validated.

The text of an answer is data and is never rendered. Only a template's own default may be an
expression over earlier answers, and its result is not rendered again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from aistart.catalog import Template
from aistart.errors import UsageProblem, format_value, unknown_name_error
from aistart.profile import Profile
from aistart.questions import Question, questions
from aistart.render import render_text


class GoBack(Exception):
    """The person at the terminal wants to return to the previous question."""


class Prompter(Protocol):
    """Asks a person."""

    def ask_question(self, question: Question, dependencies: Iterable[str]) -> str:
        """Ask one question until the answer is accepted, and return it.

        Args:
            question: with its default and choices rendered.
            dependencies: packages of the project, which ``Question.problem`` needs.

        Raises:
            GoBack: the person wants to return to the previous question.
        """

    def ask_features(
        self, template: Template, preset: list[str], required: Iterable[str] = ()
    ) -> list[str]:
        """Ask which features the project gets, and return their names.

        Args:
            template: whose features they are.
            preset: names that are selected at first.
            required: names that cannot be left out.

        Raises:
            GoBack: the person wants to return to the previous question.
        """


def render_question(
    template: Template,
    question: Question,
    answers: Mapping[str, str],
    profile: Profile | None = None,
) -> Question:
    """Return the question with its choices and its default rendered.

    Args:
        template: whose question it is.
        question: as the template declares it.
        answers: to all questions, or to those before this one.
        profile: whose value replaces the default, unless it is not one of the choices.

    Raises:
        AistartError: an expression does not render.
    """
    choices = render_choices(template, question, answers)
    layer = profile.find_layer(question.key) if profile else None
    if layer is not None:
        preference = layer.content.answers[question.key]
        if not choices or preference in choices:
            return replace(question, default=preference, choices=choices, origin=layer.label)
    default = question.default
    text = None if default is None else render_text(template, default, answers)
    return replace(question, default=text, choices=choices)


def render_choices(
    template: Template, question: Question, answers: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the answers that a question allows; empty if it allows any text.

    Args:
        template: whose question it is.
        question: as the template declares it.
        answers: to all questions, or to those before this one.
    """
    return tuple(render_text(template, choice, answers) for choice in question.choices)


def resolve(
    template: Template,
    given: Mapping[str, str],
    prompter: Prompter | None = None,
    profile: Profile | None = None,
    ask_last: Callable[[], None] = lambda: None,
    check_folder: Callable[[str], None] = lambda name: None,
) -> dict[str, str]:
    """Answer every question: from ``given``, else by asking, else with the default.

    A plain template's question without any of these stays out of the result; it renders as null.

    Args:
        template: whose questions are answered.
        given: answers from the command line and from files, by question.
        prompter: asks a person; None: nobody is asked.
        profile: values that replace the template's defaults.
        ask_last: called after the last question; it may raise ``GoBack``, too.
        check_folder: raises UsageProblem for a name that the project's folder cannot have here.

    Raises:
        UsageProblem: a key is unknown, a value is not allowed, or an obligatory one is missing.
    """
    all_questions = questions(template)
    keys = [question.key for question in all_questions]
    for key in given:
        if key not in keys:
            raise unknown_name_error("question", key, keys)
    dependencies = template.distributions
    answers: dict[str, str] = {}
    edits: dict[str, str] = {}  # a person's own answers, offered again after going back
    value: str | None
    history: list[int] = []  # positions of the questions that a person was asked
    position = 0
    while True:
        try:
            if position == len(all_questions):
                ask_last()
                return answers
            question = all_questions[position]
            if question.key in given:  # its default is not needed, and may fail to render
                choices = render_choices(template, question, answers)
                question = replace(question, default=None, choices=choices)
            else:
                question = render_question(template, question, answers, profile)
            if question.key == template.folder_key:
                question = replace(question, check=check_folder)
            if prompter and question.key not in given and question.is_relevant(answers):
                default = edits.get(question.key, question.default)
                answer = prompter.ask_question(replace(question, default=default), dependencies)
                edits.pop(question.key, None)
                if answer != question.default:
                    edits[question.key] = answer
                value = answer
                history.append(position)
            else:
                value = given.get(question.key, question.default)
        except GoBack:
            position = history.pop() if history else position
            continue
        if value is not None or not question.is_plain:
            answers[question.key] = _validate(question, value, dependencies)
        position += 1


def resolve_defaults(template: Template, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Answer every question with its default; one without a default with its own key as a sample.

    Args:
        template: whose questions are answered.
        given: answers to use instead of some defaults.
    """
    samples = {
        question.key: question.key
        for question in questions(template)
        if question.default is None and not question.is_plain
    }
    return resolve(template, {**samples, **(given or {})})


@dataclass(frozen=True)
class FeatureSelection:
    """Features that the user adds to the default ones, or leaves out.

    Attributes:
        include: names to add.
        exclude: names to leave out.
        minimal: whether to leave out all but those in ``include``.
    """

    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    minimal: bool = False


def select_features(
    template: Template,
    selection: FeatureSelection | None = None,
    prompter: Prompter | None = None,
    profile: Profile | None = None,
) -> list[str]:
    """Return the names of a project's features, in the template's order.

    What a feature requires comes with it.

    Args:
        template: whose features they are.
        selection: the user's choice; with a prompter and without a choice, the person is asked.
        prompter: asks a person; None: nobody is asked.
        profile: switches that replace the template's defaults, and features that it requires.

    Raises:
        UsageProblem: a feature is unknown, or both included and excluded, or excluded though the
            profile or another feature that is included requires it.
    """
    selection = selection or FeatureSelection()
    for name in sorted(selection.include | selection.exclude):
        if name not in template.features:
            raise unknown_name_error("feature", name, template.features)
    if both := sorted(selection.include & selection.exclude):
        raise UsageProblem(f"feature: {both[0]!r} is given with --with and with --without.")
    profile = profile or Profile()
    switches = profile.features
    profile.check_optional(selection.exclude)
    required = [name for name in profile.required if name in template.features]

    def is_on(name: str) -> bool:
        if name in required:
            return True
        if name in selection.include or name in selection.exclude or selection.minimal:
            return name in selection.include
        return switches.get(name, template.features[name].default)

    names = [name for name in template.features if is_on(name)]
    if prompter and template.features and selection == FeatureSelection():
        names = prompter.ask_features(template, names, required)
    names = add_required(template, [*names, *required])
    for name in names:
        if name in selection.exclude:
            user = next(user for user in names if name in template.features[user].requires)
            raise UsageProblem(
                f"feature: {user!r} requires {name!r}, which is given with --without; leave out "
                "both or none."
            )
    return names


def add_required(template: Template, names: Iterable[str]) -> list[str]:
    """Return the names of features and of all that they require, in the template's order."""
    found: set[str] = set()
    missing = set(names)
    while missing:
        found |= missing
        missing = {other for name in missing for other in template.features[name].requires} - found
    return [name for name in template.features if name in found]


def _validate(question: Question, value: str | None, dependencies: Iterable[str]) -> str:
    if value is None:
        raise UsageProblem(f"{question.key}: it has no default; use --set {question.key}=VALUE.")
    if problem := question.problem(value, dependencies):
        raise UsageProblem(f"{question.key}: {format_value(value)} {problem}.")
    question.check(value)
    return value
