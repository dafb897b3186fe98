"""Answers from a file: TOML or YAML, also the one that an existing project keeps."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aistart.answers import Wishes
from aistart.catalog import Template
from aistart.errors import UsageProblem, shown
from aistart.questions import questions

PLACE = Path(".aistart") / "answers.toml"  # in a project
# In one of a template that has no file for them: what it makes is not to be added to.
_PLACE_IN_GIT = Path("aistart") / "answers.toml"
FOLLOWS_FROM_NAME = ("project_name", "project_slug", "package_name")


@dataclass(frozen=True)
class GivenAnswers:
    """What a file says: the template that it is for ('' if it names none), answers, features."""

    template: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    features: list[str] | None = None


def read(path: Path) -> GivenAnswers:
    """Read answers from a file, or from a project's folder.

    The file is a table of answers, or has them under ``answers`` beside ``template`` and
    ``features``, as a project's own.

    Raises:
        UsageProblem: it is not readable, or a value has the wrong type.
    """
    if path.is_dir():
        places = (path / PLACE, path / ".git" / _PLACE_IN_GIT)
        found_in = next((place for place in places if place.is_file()), None)
        if found_in is None:
            raise UsageProblem(f"--answers: {str(path)!r} keeps no answers of aistart's.")
        path = found_in
    found = _parsed(path)
    if "answers" not in found:
        return GivenAnswers(answers=_texts(found, path))
    if not isinstance(found["answers"], dict):
        raise UsageProblem(f"--answers: {path}: answers must be a table.")
    features = found.get("features")
    if features is not None and not _is_list_of_texts(features):
        raise UsageProblem(f"--answers: {path}: features must be a list of names.")
    template = found.get("template", "")
    if not isinstance(template, str):
        raise UsageProblem(f"--answers: {path}: template must be a text.")
    return GivenAnswers(template, _texts(found["answers"], path), features)


def keep(
    repository: Path, template: str, answers: Mapping[str, str], features: Iterable[str]
) -> None:
    """Write answers where ``read`` finds them in a project that has no file for them.

    Args:
        repository: the project's ``.git``.
    """
    import tomlkit

    place = repository / _PLACE_IN_GIT
    place.parent.mkdir(exist_ok=True)
    kept = {"template": template, "features": list(features), "answers": dict(answers)}
    place.write_text(tomlkit.dumps(kept), encoding="utf-8")


def _parsed(path: Path) -> dict[str, Any]:
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise UsageProblem(f"--answers: {str(path)!r} must end with .toml, .yaml or .yml.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return tomllib.loads(text)
        found = _parsed_yaml(text)
    except OSError as error:
        raise UsageProblem(f"--answers: {str(path)!r}: {error.strerror}.") from None
    except Exception as error:  # a parser's own classes
        reason = " ".join(str(error).split())
        raise UsageProblem(f"--answers: {str(path)!r} does not parse: {reason}.") from None
    if not isinstance(found, dict):
        raise UsageProblem(f"--answers: {str(path)!r} must hold a table of answers.")
    return found


def _parsed_yaml(text: str) -> Any:
    """What a YAML file holds, in which an alias may stand for a text only.

    Aliases of lists and tables, nested, make gigabytes of a few lines.
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


def _texts(values: dict[str, Any], path: Path) -> dict[str, str]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise UsageProblem(
                f"--answers: {path}: the name {shown(key)} must be a text, in quotes."
            )
        if not isinstance(value, str):
            raise UsageProblem(
                f"--answers: {path}: {key}: {shown(value)} must be a text, in quotes."
            )
    return values


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def merged(
    found: GivenAnswers, template: Template, settings: Iterable[str], name: str | None
) -> dict[str, str]:
    """Answers of the file, above them those of ``--set``, above them the project's name.

    Raises:
        UsageProblem: they do not fit together.
    """
    if found.template and found.template != template.name:
        raise UsageProblem(
            f"--answers: they are for {found.template!r}, and the template is {template.name!r}."
        )
    given = dict(found.answers)
    if name is not None and name != given.get(template.name_key or ""):
        # What a project's own answers say of its folder and package follows from its name.
        follows = {*FOLLOWS_FROM_NAME, template.folder_key}
        given = {key: value for key, value in given.items() if key not in follows}
    said: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageProblem(f"--set: {shown(setting)} is not of the form KEY=VALUE.")
        said[key] = value
    if name is None:
        return given | said
    name_key = template.name_key
    if name_key is None:
        raise UsageProblem(
            f"NAME: {template.name} has no question for it; use --set KEY=VALUE with one of: "
            f"{', '.join(question.key for question in questions(template))}."
        )
    if name_key in said:
        raise UsageProblem(f"{name_key}: given twice, as NAME and with --set.")
    return given | said | {name_key: name}


def features_of(
    found: GivenAnswers, wanted: Iterable[str], unwanted: Iterable[str], *, minimal: bool
) -> Wishes:
    """What is wished of features; those that a file lists are all that there are."""
    wishes = Wishes(frozenset(wanted), frozenset(unwanted), minimal)
    if found.features is None or minimal:
        return wishes
    listed = frozenset(found.features) - wishes.unwanted
    return Wishes(wishes.wanted | listed, wishes.unwanted, minimal=True)
