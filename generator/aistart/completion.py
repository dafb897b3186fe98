"""Words that a shell completes."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    split_arg_string,
)

if TYPE_CHECKING:
    from aistart.catalog import Template

_PARTED = "COMP_CWORD=$COMP_CWORD"
_AS_TYPED = 'COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS"'


@add_completion_class
class Bash(BashComplete):
    """For bash, which parts KEY=VALUE at the = and replaces what stands behind it alone."""

    source_template = BashComplete.source_template.replace(_PARTED, f"{_PARTED} {_AS_TYPED}")

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is typed, and that one."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """The item without what bash keeps of the word that is typed."""
        word = self.get_completion_args()[1]
        if word.startswith("-"):  # --set=license=MIT: click has parted it
            word = word.partition("=")[2]
        if "=" in word and "=" in os.environ["COMP_WORDBREAKS"]:
            item.value = item.value.removeprefix(word[: word.rindex("=") + 1])
        return super().format_completion(item)


def templates(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Names of templates, else folders."""
    from aistart.catalog import find_templates

    names = _beginning(find_templates(), incomplete)
    return names or [CompletionItem(incomplete, type="dir")]


def features(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Features of the template that is named, else of all."""
    return _beginning({name for t in _named(context) for name in t.features}, incomplete)


def settings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Questions of the template that is named, else of all, with their choices."""
    from aistart.questions import questions

    asked = [question for template in _named(context) for question in questions(template)]
    words = {f"{q.key}={choice}" for q in asked for choice in (q.choices or ("",))}
    return _beginning(words, incomplete)


def profile_keys(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """What a profile can hold."""
    from aistart.profile import keys

    return _beginning(keys(), incomplete)


def profile_values(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """What the key that is named can be."""
    from aistart.profile import choices

    return _beginning(choices(context.params["key"]), incomplete)


def _named(context: click.Context) -> list["Template"]:
    from aistart.catalog import find_templates

    found = find_templates()
    word = context.params.get("template")
    return [found[word]] if word in found else list(found.values())


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem[Any]]:
    return [CompletionItem(word) for word in sorted(words) if word.startswith(incomplete)]
