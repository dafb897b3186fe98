"""Answers from a TOML or YAML file, such as the one that every generated project keeps."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aistart.answers import FeatureSelection
from aistart.catalog import Template
from aistart.errors import UsageProblem, format_value
from aistart.questions import questions

ANSWERS_PATH = Path(".aistart") / "answers.toml"  # within a project
# Questions whose defaults follow from the project's name.
_NAME_KEYS = ("project_name", "project_slug", "package_name")


@dataclass(frozen=True)
class AnswersFile:
    """The content of an answers file.

    Attributes:
        template: the name of the template that it is for; empty if it names none.
        answers: by question.
        features: names of the project's features; None if it lists none.
    """

    template: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    features: list[str] | None = None


def read(path: Path) -> AnswersFile:
    """Read an answers file, or the one of the project in a folder.

    The file is a table of answers, or has them under ``answers`` beside ``template`` and
    ``features``, like a project's own file.

    Raises:
        UsageProblem: the file cannot be read, or a value has the wrong type.
    """
    if path.is_dir():
        file = path / ANSWERS_PATH
        if not file.is_file():
            raise UsageProblem(
                f"--answers: the folder {str(path)!r} has no recorded answers "
                f"({ANSWERS_PATH.as_posix()})."
            )
        path = file
    content = _parse(path)
    if "answers" not in content:
        return AnswersFile(answers=_check_texts(content, path))
    if not isinstance(content["answers"], dict):
        raise UsageProblem(f"--answers: {path}: answers must be a table.")
    features = content.get("features")
    if features is not None and not _is_list_of_texts(features):
        raise UsageProblem(f"--answers: {path}: features must be a list of names.")
    template = content.get("template", "")
    if not isinstance(template, str):
        raise UsageProblem(f"--answers: {path}: template must be a text.")
    return AnswersFile(template, _check_texts(content["answers"], path), features)


def _parse(path: Path) -> dict[str, Any]:
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise UsageProblem(f"--answers: {str(path)!r} must end with .toml, .yaml or .yml.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return tomllib.loads(text)
        content = _parse_yaml(text)
    except OSError as error:
        raise UsageProblem(f"--answers: {str(path)!r}: {error.strerror}.") from None
    except Exception as error:  # the parsers have exception classes of their own
        reason = " ".join(str(error).split())
        raise UsageProblem(f"--answers: {str(path)!r} does not parse: {reason}.") from None
    if not isinstance(content, dict):
        raise UsageProblem(f"--answers: {str(path)!r} must hold a table of answers.")
    return content


def _parse_yaml(text: str) -> Any:
    """Parse YAML, rejecting aliases of lists and tables.

    Nested in each other, a few lines of them expand to gigabytes.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            is_alias = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if is_alias and not isinstance(node, yaml.ScalarNode):
                raise ValueError("an alias (*) may stand for a text only")
            return node

    return yaml.load(text, Loader)


def _check_texts(values: dict[str, Any], path: Path) -> dict[str, str]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise UsageProblem(
                f"--answers: {path}: the name {format_value(key)} must be a text, in quotes."
            )
        if not isinstance(value, str):
            raise UsageProblem(
                f"--answers: {path}: {key}: {format_value(value)} must be a text, in quotes."
            )
    return values


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def merge_answers(
    file: AnswersFile, template: Template, settings: Iterable[str], name: str | None
) -> dict[str, str]:
    """Merge the answers of a file with those of the command line, which win.

    Args:
        file: the answers file.
        template: the template to answer.
        settings: the values of ``--set``, each of the form KEY=VALUE.
        name: the project's name, if it is given.

    Raises:
        UsageProblem: the file is for another template, a setting is malformed, or the name is
            given twice or answers no question.
    """
    if file.template and file.template != template.name:
        raise UsageProblem(
            f"--answers: they are for {file.template!r}, and the template is {template.name!r}."
        )
    from_file = dict(file.answers)
    if name is not None and name != from_file.get(template.name_key or ""):
        # The file's folder and package belong to its own name: the new name gives new ones.
        name_keys = {*_NAME_KEYS, template.folder_key}
        from_file = {key: value for key, value in from_file.items() if key not in name_keys}
    from_settings = parse_settings(settings)
    if name is None:
        return from_file | from_settings
    name_key = template.name_key
    if name_key is None:
        raise UsageProblem(
            f"NAME: {template.name} has no question for it; use --set KEY=VALUE with one of: "
            f"{', '.join(question.key for question in questions(template))}."
        )
    if name_key in from_settings:
        raise UsageProblem(f"{name_key}: given twice, as NAME and with --set.")
    return from_file | from_settings | {name_key: name}


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``--set``.

    Raises:
        UsageProblem: one is not of the form KEY=VALUE.
    """
    answers: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageProblem(f"--set: {format_value(setting)} is not of the form KEY=VALUE.")
        answers[key] = value
    return answers


def merge_features(
    file: AnswersFile, include: Iterable[str], exclude: Iterable[str], *, minimal: bool
) -> FeatureSelection:
    """Merge the features of a file with those of the command line, which win.

    A list in the file is complete: features that it does not name are left out.

    Args:
        file: the answers file.
        include: the values of ``--with``.
        exclude: the values of ``--without``.
        minimal: whether ``--minimal`` is given; the file's list is then ignored.
    """
    selection = FeatureSelection(frozenset(include), frozenset(exclude), minimal)
    if file.features is None or minimal:
        return selection
    listed = frozenset(file.features) - selection.exclude
    return FeatureSelection(selection.include | listed, selection.exclude, minimal=True)
