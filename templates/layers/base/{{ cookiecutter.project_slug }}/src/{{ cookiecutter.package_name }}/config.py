"""The configuration: defaults < YAML file < environment < command line.

Fields have dotted names (``train.epochs``). In YAML they are nested, in the environment
``APP__TRAIN__EPOCHS=5``, on the command line ``--train.epochs 5``. A field that does not exist is
an error wherever it is written.
"""

import argparse
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from . import settings
from .errors import UsageProblem, unknown
from .files import project_root
from .sections import NameIn, Section, TrackingSection

ENVIRONMENT_PREFIX = "APP__"
SHARED = Path("configs") / "project.yaml"  # what is so in all runs of the project, if it is there


class Config(Section):
    """Everything that decides what a run does."""

    data: settings.Data = Field(default_factory=settings.Data)
    model: settings.Model = Field(default_factory=settings.Model)
    train: settings.Train = Field(default_factory=settings.Train)
    runtime: settings.Runtime = Field(default_factory=settings.Runtime)
    tracking: TrackingSection = Field(default_factory=TrackingSection)

    def shown(self) -> dict[str, dict[str, Any]]:
        """All sections with their fields as they may be recorded: without secrets.

        Fields of the type ``pydantic.SecretStr`` are left out; of a URL, what stands before ``@``.
        """
        return {
            section: {
                name: without_password(value) if isinstance(value, str) else value
                for name, value in getattr(self, section).model_dump(mode="json").items()
                if not isinstance(getattr(getattr(self, section), name), SecretStr)
            }
            for section in Config.model_fields
        }

    def to_yaml(self) -> str:
        """The recorded form of all fields, which ``--config`` reads."""
        import yaml

        return yaml.safe_dump(self.shown(), sort_keys=False, allow_unicode=True)


def without_password(uri: str) -> str:
    """The URI as it may be shown: what stands before an ``@`` is left out, and passwords among the
    options after a ``?``. SQLite has none, but the path of its file may have an ``@``."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "sqlite":
        return uri
    shown = f"{scheme}://{rest.rpartition('@')[2]}"
    return re.sub(r"([?&](?:password|passwd|odbc_connect)=)[^&]*", r"\1", shown)


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every field with its dotted name, in the order of the help."""
    for section_name, section in Config.model_fields.items():
        for name, field in section.annotation.model_fields.items():
            yield f"{section_name}.{name}", field


def load_config(
    argv: Sequence[str] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    base: Path | None = None,
) -> Config:
    """Read the configuration from its sources.

    Args:
        argv: the command line's words: ``--config FILE`` and ``--section.field VALUE``.
        environment: where ``APP__SECTION__FIELD`` is looked up.
        base: a YAML file below ``--config``, such as that of an earlier run.

    Raises:
        UsageProblem: a field is unknown or its value is not allowed.
    """
    parser = argument_parser("train")
    words = vars(parser.parse_args(list(argv)))
    config_file = words.pop("config", None)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    shared = project_root() / SHARED
    if shared.is_file():
        ours = _read_yaml(shared)
        if environment.get("MLFLOW_TRACKING_URI"):  # as everywhere, it is above files
            ours.pop("tracking.uri", None)
        _put(ours, str(SHARED), values, origins)
    for path in filter(None, (base, config_file)):
        _put(_read_yaml(Path(path)), str(path), values, origins)
    _put(_read_environment(environment), "the environment", values, origins)
    _put(words, "the command line", values, origins)
    return _validated(values, origins)


def argument_parser(
    program: str, summary: str = "Train a model.", parents: Sequence[argparse.ArgumentParser] = ()
) -> argparse.ArgumentParser:
    """A parser with ``--config`` and a flag for each field, besides those of ``parents``."""
    parser = Parser(
        prog=program,
        parents=parents,
        description=summary,
        epilog="Precedence: defaults < configs/project.yaml < --config < environment "
        "(APP__TRAIN__EPOCHS=5) < flags.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=100),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with fields that differ")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    groups: dict[str, Any] = {}
    for name, field in fields():
        section = name.split(".")[0]
        if section not in groups:
            title = Config.model_fields[section].annotation.__doc__.splitlines()[0].rstrip(".")
            groups[section] = parser.add_argument_group(f"{section}: {title}")
        groups[section].add_argument(f"--{name}", metavar=_metavar(field), help=_help(field))
    return parser


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest flag."""

    def parse_args(self, args=None, namespace=None):
        parsed, rest = self.parse_known_args(args, namespace)
        for word in rest:
            if word.startswith("-"):
                flags = [flag for action in self._actions for flag in action.option_strings]
                raise unknown("flag", word.split("=")[0], flags)
            raise UsageProblem(f"{word!r} is not expected here; fields are written --name value.")
        return parsed

    def error(self, message: str) -> NoReturn:
        raise UsageProblem(f"{message}.")


def positive(text: str) -> int:
    """A flag's value that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _help(field: FieldInfo) -> str:
    names = [name for mark in field.metadata if isinstance(mark, NameIn) for name in mark.names]
    allowed = f": {', '.join(names)}" if names else ""
    default = "unset" if field.default is None else _shown(field.default)
    return f"{field.description}{allowed} (default: {default})".replace("%", "%%")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metavar(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if annotation is bool:
        return "true|false"
    return getattr(annotation, "__name__", "value").upper()


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageProblem(f"--config: {str(path)!r}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"--config: {str(path)!r} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageProblem(f"--config: {str(path)!r} must hold sections with fields.")
    flat: dict[str, Any] = {}
    for section, values in content.items():
        if section not in Config.model_fields:
            raise unknown(f"{path}: section", str(section), Config.model_fields)
        if not isinstance(values, dict):
            raise UsageProblem(f"{path}: {section} must hold fields, not {values!r}.")
        flat |= {f"{section}.{field}": value for field, value in values.items()}
    return flat


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {f"{ENVIRONMENT_PREFIX}{name.replace('.', '__').upper()}": name for name, _ in fields()}
    found = {}
    for variable, value in environment.items():
        if variable.upper().startswith(ENVIRONMENT_PREFIX):
            if variable not in known:
                raise unknown("environment variable", variable, known)
            found[known[variable]] = value
    return found


def _put(
    flat: dict[str, Any], origin: str, values: dict[str, Any], origins: dict[str, str]
) -> None:
    known = [name for name, _ in fields()]
    for name, value in flat.items():
        if name not in known:
            raise unknown(f"{origin}: field", name, known)
        section, field = name.split(".")
        # Words of a shell have no type: an empty one or "null" leaves an optional field unset.
        empty = isinstance(value, str) and value in ("", "null") and not origin.endswith("yaml")
        values.setdefault(section, {})[field] = None if empty else value
        origins[name] = origin


def _validated(values: dict[str, Any], origins: dict[str, str]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    first = problems[0]
    name = ".".join(map(str, first["loc"]))
    reason = first["msg"][:1].lower() + first["msg"][1:]
    value = "unset" if first["input"] is None else without_password(repr(first["input"]))
    if name in dict(fields()) and _is_secret(dict(fields())[name]):
        value = "the value (not shown)"
    more = f" ({len(problems) - 1} more fields are wrong)" if len(problems) > 1 else ""
    origin = f" (from {origins[name]})" if name in origins else ""
    if first["type"] == "unknown_name":
        raise UsageProblem(f"{name}: {reason}{origin}.{more}")
    raise UsageProblem(f"{name}: {value} is not allowed: {reason}{origin}.{more}")


if __name__ == "__main__":
    print(load_config(sys.argv[1:]).to_yaml(), end="")
