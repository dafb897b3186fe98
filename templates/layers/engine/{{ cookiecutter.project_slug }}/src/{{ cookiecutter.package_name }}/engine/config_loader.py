"""Reading the configuration: defaults < YAML files < environment < command line.

Fields have dotted names (``train.epochs``). In YAML they are nested, in the environment
``APP__TRAIN__EPOCHS=5``, on the command line ``--train.epochs 5``. A field that does not exist is
an error wherever it is written.

pydantic-settings has the same order of sources, but neither says which of them a wrong value came
from nor refuses unknown variables of the environment.
"""

import argparse
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, cast, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo

from .config_fields import BaseConfig, NameIn, Section, without_password
from .errors import UsageProblem, unknown
from .extensions import find_sections
from .files import project_root

ENVIRONMENT_PREFIX = "APP__"
PROJECT_FILE = Path("configs") / "project.yaml"  # fields of all runs of the project, if it exists


def load(
    config_type: type[BaseConfig],
    argv: Sequence[str] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    base: Path | None = None,
    sections: Sequence[str] = (),
) -> Any:
    """Read the configuration from its sources.

    Files and the environment may set fields of features (``serve.port``) for all commands: those
    that do not ask for such a section pass over it.

    Args:
        config_type: the project's ``Config``, of which an instance is returned.
        argv: words of the command line: ``--config FILE`` and ``--section.field VALUE``.
        environment: where ``APP__SECTION__FIELD`` is looked up.
        base: a YAML file that ``--config`` overrides, such as that of an earlier run.
        sections: of features, that the configuration is to have as well.

    Raises:
        UsageProblem: a field is unknown or its value is not allowed.
    """
    config_type = add_sections(config_type, sections)
    words = vars(argument_parser(config_type, "train").parse_args(list(argv)))
    config_file = words.pop("config", None)
    source = _Source(config_type)
    project_file = project_root() / PROJECT_FILE
    if project_file.is_file():
        fields = _read_yaml(config_type, project_file)
        if environment.get("MLFLOW_TRACKING_URI"):  # overrides files, as it does in MLflow
            fields.pop("tracking.uri", None)
        source.put(fields, str(PROJECT_FILE))
    for path in filter(None, (base, config_file)):
        source.put(_read_yaml(config_type, Path(path)), str(path))
    source.put(_read_environment(config_type, environment), "the environment")
    source.put(words, "the command line")
    return source.validate()


def add_sections(config_type: type[BaseConfig], names: Sequence[str]) -> type[BaseConfig]:
    """Return the class of a configuration that also has sections of features.

    Args:
        config_type: the project's ``Config``.
        names: of sections in ``SECTIONS`` of a feature.
    """
    if not names:
        return config_type
    found = find_sections()
    fields: dict[str, Any] = {
        name: (found[name], Field(default_factory=found[name])) for name in names
    }
    return create_model(config_type.__name__, __base__=config_type, **fields)


def iterate_fields(config_type: type[BaseConfig]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field with its dotted name, in the order of the help."""
    for section_name, section in config_type.model_fields.items():
        for name, field in _section_type(section).model_fields.items():
            yield f"{section_name}.{name}", field


def _section_type(section: FieldInfo) -> type[Section]:
    return cast("type[Section]", section.annotation)


# === The command line ===


def argument_parser(
    config_type: type[BaseConfig],
    program: str,
    summary: str = "Train a model.",
    parents: Sequence[argparse.ArgumentParser] = (),
) -> argparse.ArgumentParser:
    """Return a parser with ``--config`` and a flag for each field, besides those of ``parents``."""
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
    for name, field in iterate_fields(config_type):
        section = name.split(".")[0]
        if section not in groups:
            docstring = _section_type(config_type.model_fields[section]).__doc__ or section
            title = docstring.splitlines()[0].rstrip(".")
            groups[section] = parser.add_argument_group(f"{section}: {title}")
        groups[section].add_argument(f"--{name}", metavar=_metavar(field), help=_help(field))
    return parser


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ``UsageProblem``s and name the nearest flag."""

    def parse_args(self, args=None, namespace=None):
        namespace, rest = self.parse_known_args(args, namespace)
        for word in rest:
            if word.startswith("-"):
                flags = [flag for action in self._actions for flag in action.option_strings]
                raise unknown("flag", word.split("=")[0], flags)
            raise UsageProblem(f"{word!r} is not expected here; fields are written --name value.")
        return namespace

    def error(self, message: str) -> NoReturn:
        raise UsageProblem(f"{message}.")


def positive(text: str) -> int:
    """Convert the value of a flag to a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _help(field: FieldInfo) -> str:
    names = [name for mark in field.metadata if isinstance(mark, NameIn) for name in mark.table]
    allowed = f": {', '.join(names)}" if names else ""
    default = "unset" if field.default is None else _format(field.default)
    return f"{field.description}{allowed} (default: {default})".replace("%", "%%")


def _format(value: Any) -> str:
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


# === Files and environment ===


def _read_yaml(config_type: type[BaseConfig], path: Path) -> dict[str, Any]:
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
    known = {*config_type.model_fields, *find_sections()}
    for section, values in content.items():
        if section not in known:
            raise unknown(f"{path}: section", str(section), known)
        if not isinstance(values, dict):
            raise UsageProblem(f"{path}: {section} must hold fields, not {values!r}.")
        flat |= {f"{section}.{field}": value for field, value in values.items()}
    return flat


def _read_environment(
    config_type: type[BaseConfig], environment: Mapping[str, str]
) -> dict[str, Any]:
    names = [name for name, _ in iterate_fields(config_type)]
    names += _names_of_features()
    known = {f"{ENVIRONMENT_PREFIX}{name.replace('.', '__').upper()}": name for name in names}
    values = {}
    for variable, value in environment.items():
        if variable.upper().startswith(ENVIRONMENT_PREFIX):
            if variable not in known:
                raise unknown("environment variable", variable, known)
            values[known[variable]] = value
    return values


def _names_of_features() -> list[str]:
    return [
        f"{section}.{name}"
        for section, fields in find_sections().items()
        for name in fields.model_fields
    ]


class _Source:
    """Values of fields from several places, each with the place that it came from last."""

    def __init__(self, config_type: type[BaseConfig]) -> None:
        self.config_type = config_type
        self.fields = dict(iterate_fields(config_type))
        self.passed_over = set(_names_of_features()) - set(self.fields)
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def put(self, flat: Mapping[str, Any], origin: str) -> None:
        """Override values with those of one place.

        Raises:
            UsageProblem: a field is unknown.
        """
        for name, value in flat.items():
            if name in self.passed_over:
                continue
            if name not in self.fields:
                raise unknown(f"{origin}: field", name, {*self.fields, *self.passed_over})
            section, field = name.split(".")
            # Words of a shell have no type: an empty one or "null" leaves an optional field unset.
            empty = isinstance(value, str) and value in ("", "null") and not origin.endswith("yaml")
            self.values.setdefault(section, {})[field] = None if empty else value
            self.origins[name] = origin

    def validate(self) -> Any:
        """Return the configuration.

        Raises:
            UsageProblem: a value is not allowed; the message says where it came from.
        """
        try:
            return self.config_type.model_validate(self.values)
        except ValidationError as error:
            problems = error.errors(include_url=False)
        first = problems[0]
        name = ".".join(map(str, first["loc"]))
        reason = first["msg"][:1].lower() + first["msg"][1:]
        value = "unset" if first["input"] is None else without_password(repr(first["input"]))
        if name in self.fields and _is_secret(self.fields[name]):
            value = "the value (not shown)"
        more = f" ({len(problems) - 1} more fields are wrong)" if len(problems) > 1 else ""
        origin = f" (from {self.origins[name]})" if name in self.origins else ""
        if first["type"] == "unknown_name":
            raise UsageProblem(f"{name}: {reason}{origin}.{more}")
        raise UsageProblem(f"{name}: {value} is not allowed: {reason}{origin}.{more}")


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))
