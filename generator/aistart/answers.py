"""What the user wants: a value for each question of a template, validated before use.

An answer's text is data. Only a template's own default may be an expression over earlier answers,
and what it yields is not evaluated again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from aistart.catalog import Template
from aistart.errors import UsageProblem, shown, unknown
from aistart.profile import Profile
from aistart.questions import Question, questions
from aistart.render import render_text


class Back(Exception):
    """The person at the terminal wants to see the question before."""


class Ask(Protocol):
    """How a person is asked."""

    def question(self, question: Question, dependencies: Iterable[str]) -> str:
        """An accepted answer.

        Raises:
            Back: the question before, please.
        """

    def features(self, template: Template, preset: list[str]) -> list[str]:
        """The features that the project shall have.

        Raises:
            Back: the question before, please.
        """


def rendered(
    template: Template,
    question: Question,
    answers: Mapping[str, str],
    profile: Profile | None = None,
) -> Question:
    """The question with its choices and its default rendered, or with the profile's default, if
    that is one of the choices.

    Args:
        answers: to all questions, or to those before this one.

    Raises:
        AistartError: one does not render.
    """
    choices = rendered_choices(template, question, answers)
    usual = profile.answers.get(question.key) if profile else None
    if profile and usual is not None and (not choices or usual in choices):
        return replace(question, default=usual, choices=choices, origin=profile.name)
    default = question.default
    usual_text = None if default is None else render_text(template, default, answers)
    return replace(question, default=usual_text, choices=choices)


def rendered_choices(
    template: Template, question: Question, answers: Mapping[str, str]
) -> tuple[str, ...]:
    """The values that are allowed after earlier answers; none: any text."""
    return tuple(render_text(template, choice, answers) for choice in question.choices)


def resolve(
    template: Template,
    given: Mapping[str, str],
    ask: Ask | None = None,
    profile: Profile | None = None,
    finish: Callable[[], None] = lambda: None,
    check_folder: Callable[[str], None] = lambda name: None,
) -> dict[str, str]:
    """Answer every question: from ``given``, else by asking, else with the default. A null that a
    plain template leaves, and nobody is asked for, is no answer.

    Args:
        profile: whose values stand above the template's defaults.
        finish: asks what is asked last; from there, too, a person may go ``Back``.
        check_folder: raises UsageProblem for a name that the project's folder cannot have here.

    Raises:
        UsageProblem: a key is unknown, a value is not allowed, or one is missing.
    """
    asked = questions(template)
    for key in given:
        if key not in {question.key for question in asked}:
            raise unknown("question", key, [question.key for question in asked])
    dependencies = template.distributions
    answers: dict[str, str] = {}
    changed: dict[str, str] = {}  # what a person said instead of a default, for when it comes again
    value: str | None
    put: list[int] = []  # places of questions that a person was asked
    place = 0
    while True:
        try:
            if place == len(asked):
                finish()
                return answers
            question = asked[place]
            if question.key in given:  # a default that nobody needs may be one that fails
                choices = rendered_choices(template, question, answers)
                question = replace(question, default=None, choices=choices)
            else:
                question = rendered(template, question, answers, profile)
            if question.key == template.folder_key:
                question = replace(question, check=check_folder)
            if ask and question.key not in given and question.matters(answers):
                before = changed.get(question.key, question.default)
                said = ask.question(replace(question, default=before), dependencies)
                changed.pop(question.key, None)
                if said != question.default:
                    changed[question.key] = said
                value = said
                put.append(place)
            else:
                value = given.get(question.key, question.default)
        except Back:
            place = put.pop() if put else place
            continue
        if value is not None or not question.is_plain:
            answers[question.key] = _checked(question, value, dependencies)
        place += 1


def usual_answers(template: Template, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The answers of somebody who answers nothing but what is given. A question of ours that has no
    default is answered with its own key."""
    asked = questions(template)
    obliged = {q.key: q.key for q in asked if q.default is None and not q.is_plain}
    return resolve(template, {**obliged, **(given or {})})


@dataclass(frozen=True)
class Wishes:
    """Which features are wished for, and which not; minimal: none besides."""

    wanted: frozenset[str] = frozenset()
    unwanted: frozenset[str] = frozenset()
    minimal: bool = False


def choose_features(
    template: Template,
    wishes: Wishes | None = None,
    ask: Ask | None = None,
    profile: Profile | None = None,
) -> list[str]:
    """The features that a project shall have, in the template's order.

    Raises:
        UsageProblem: one is unknown, or wanted and unwanted.
    """
    said = wishes or Wishes()
    for name in sorted(said.wanted | said.unwanted):
        if name not in template.features:
            raise unknown("feature", name, template.features)
    if both := sorted(said.wanted & said.unwanted):
        raise UsageProblem(f"feature: {both[0]!r} is given with --with and with --without.")
    usual = {} if profile is None else profile.features
    chosen = [
        name
        for name, feature in template.features.items()
        if name in said.wanted
        or (name not in said.unwanted and not said.minimal and usual.get(name, feature.default))
    ]
    if ask and template.features and said == Wishes():
        return ask.features(template, chosen)
    return chosen


def _checked(question: Question, value: str | None, dependencies: Iterable[str]) -> str:
    if value is None:
        raise UsageProblem(f"{question.key}: it has no default; use --set {question.key}=VALUE.")
    if found := question.problem(value, dependencies):
        raise UsageProblem(f"{question.key}: {shown(value)} {found}.")
    question.check(value)
    return value
