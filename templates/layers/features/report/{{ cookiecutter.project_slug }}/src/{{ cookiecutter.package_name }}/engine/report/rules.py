"""Files with rules: what is wrong in one is said with its place and what is allowed."""

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import ConfigDict, ValidationError

from ..config_fields import Section
from ..errors import UsageProblem, unknown


class Rules(Section):
    """A group of rules. Numbers are numbers: '5' and true are refused."""

    model_config = ConfigDict(strict=True)


def read_rules(file: Path, title: Path, kind: type[Rules], purpose: str) -> Any:
    """Read the rules in a YAML file.

    Args:
        file: the file.
        title: how messages name it: its path in the project.
        kind: of rules, of which an instance is returned.
        purpose: what the file holds, for messages.

    Raises:
        UsageProblem: there is no such file, a rule is unknown, or its value is not allowed.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageProblem(f"{title}: {error.strerror}; it holds {purpose}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{title} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageProblem(f"{title} must hold rules by name, not {content!r}.")
    try:
        # A heading whose rules are all comments has the value null.
        return kind.model_validate({k: v for k, v in content.items() if v is not None})
    except ValidationError as error:
        raise _describe(title, kind, error.errors(include_url=False)[0]) from None


def _describe(title: Path, kind: type[Rules], problem: Any) -> UsageProblem:
    *place, name = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        fields = _find_group(kind, place).model_fields
        return unknown(": ".join([str(title), *map(str, place)]), str(name), fields)
    reason = problem["msg"].removeprefix("Value error, ")
    path = ".".join(map(str, problem["loc"]))
    return UsageProblem(
        f"{title}: {path}: {problem['input']!r} is not allowed: {reason[:1].lower()}{reason[1:]}."
    )


def _find_group(kind: type[Rules], place: Sequence[str | int]) -> type[Rules]:
    """Return the group of rules at a place in the file."""
    found: Any = kind
    for name in place:
        found = found.model_fields[name].annotation if _is_group(found) else get_args(found)[1]
        if get_origin(found) in (Union, types.UnionType):
            found = next(part for part in get_args(found) if part is not type(None))
    return found


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Rules)
