"""Shell completion of templates, options and answers."""

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

_WORD_VARIABLES = "COMP_CWORD=$COMP_CWORD"
_LINE_VARIABLES = 'COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS"'


@add_completion_class
class BashSettingComplete(BashComplete):
    """Completion of KEY=VALUE in bash, which splits it at the = and replaces only what follows."""

    source_template = BashComplete.source_template.replace(
        _WORD_VARIABLES, f"{_WORD_VARIABLES} {_LINE_VARIABLES}"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the incomplete one, and the incomplete one."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Format the item without the part of the word that bash keeps."""
        word = self.get_completion_args()[1]
        if word.startswith("-"):  # --set=license=MIT: click has already removed the option
            word = word.partition("=")[2]
        if "=" in word and "=" in os.environ["COMP_WORDBREAKS"]:
            item.value = item.value.removeprefix(word[: word.rindex("=") + 1])
        return super().format_completion(item)


# The signatures below are those that Click calls.


def complete_templates(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete the name of a template, or else the path of a folder."""
    from aistart.catalog import find_templates
    from aistart.errors import AistartError
    from aistart.profile import read

    try:
        of_team = list(read(context.params.get("named_profile"), offline=True).templates)
    except AistartError:  # the command itself will say so
        of_team = []
    items = _match_prefix([*find_templates(), *of_team], incomplete)
    return items or [CompletionItem(incomplete, type="dir")]


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete the path of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_features(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete a feature of the template on the command line, else of any template."""
    names = {name for template in _templates_in(context) for name in template.features}
    return _match_prefix(names, incomplete)


def complete_missing_features(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete a feature that the project does not have."""
    present = _features_of_project(context)
    names = {name for template in _templates_of_project(context) for name in template.features}
    return _match_prefix(names.difference(present), incomplete)


def complete_project_features(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete a feature that the project has."""
    return _match_prefix(_features_of_project(context), incomplete)


def _record_of_project(context: click.Context) -> dict[str, Any]:
    """Read the record of the project on the command line, or around the current folder."""
    import tomllib
    from pathlib import Path

    from aistart.answers_file import ANSWERS_PATH

    folder = Path.cwd() / (context.params.get("project") or "")
    for path in (folder, *folder.parents):
        if (path / ANSWERS_PATH).is_file():
            return tomllib.loads((path / ANSWERS_PATH).read_text(encoding="utf-8"))
    return {}


def _features_of_project(context: click.Context) -> list[str]:
    return list(map(str, _record_of_project(context).get("features", [])))


def _templates_of_project(context: click.Context) -> list["Template"]:
    from aistart.catalog import find_templates

    templates = find_templates()
    name = _record_of_project(context).get("template")
    return [templates[name]] if name in templates else list(templates.values())


def complete_settings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete KEY=VALUE for the template on the command line, else for any template."""
    return _match_settings(_templates_in(context), incomplete)


def complete_settings_of_project(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete KEY=VALUE for the template of the project."""
    return _match_settings(_templates_of_project(context), incomplete)


def _match_settings(templates: Iterable["Template"], incomplete: str) -> list[CompletionItem[Any]]:
    from aistart.questions import questions

    all_questions = [q for template in templates for q in questions(template)]
    words = {f"{q.key}={choice}" for q in all_questions for choice in (q.choices or ("",))}
    return _match_prefix(words, incomplete)


def complete_profile_keys(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete a key of the profile."""
    from aistart.profile import list_keys

    return _match_prefix(list_keys(), incomplete)


def complete_profile_values(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """Complete the value of the key on the command line."""
    from aistart.profile.edit import list_choices

    return _match_prefix(list_choices(context.params["key"]), incomplete)


def _templates_in(context: click.Context) -> list["Template"]:
    from aistart.catalog import find_templates

    templates = find_templates()
    name = context.params.get("template")
    return [templates[name]] if name in templates else list(templates.values())


def _match_prefix(words: Iterable[str], incomplete: str) -> list[CompletionItem[Any]]:
    return [CompletionItem(word) for word in sorted(words) if word.startswith(incomplete)]
