"""What is searched: ``configs/search.yaml``, checked against the project's configuration.

Everything that can be wrong with it is found before anything is trained.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pydantic import Field, ValidationError, model_validator

from ..config_fields import BaseConfig, Section
from ..config_loader import iterate_fields
from ..errors import UsageProblem, unknown
from ..extensions import find_training_sections

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LoadConfig = Callable[[Sequence[str]], BaseConfig]

LOSS = "validation/loss"
# Fields of ``train`` that a search has no use for, with the reason.
NO_EFFECT = "it does not change what a model learns."
NOT_SEARCHED = {
    "train.seed": "the best seed is luck, which does not last.",
    "train.deterministic": NO_EFFECT,
    "train.log_every_steps": NO_EFFECT,
    "train.checkpoint_every_steps": NO_EFFECT,
    "train.checkpoint_every_minutes": NO_EFFECT,
    "train.keep_checkpoints": NO_EFFECT,
    "train.steps_per_execution": NO_EFFECT,
    "train.tensorboard": NO_EFFECT,
    "train.profile_steps": NO_EFFECT,
    "train.accumulate_steps": NO_EFFECT,
    "train.recompute": NO_EFFECT,
}
# They change the scale of the loss that the validation split is measured with.
LOSS_FIELDS = ("train.loss", "train.label_smoothing")


class Range(Section):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = Field(False, description="search the logarithm: each power of ten alike")
    step: float | None = Field(None, gt=0, description="only low, low + step, low + 2 step, …")
    default: float | None = Field(
        None, description="where the field's own value is unset: the number that this stands for"
    )

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("log needs low > 0, and no step")
        return self

    def holds(self, value: float) -> bool:
        """Return whether the range has the value."""
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-8)


class SearchFile(Section):
    """``configs/search.yaml``."""

    goal: str = Field(LOSS, pattern="^validation/.+", description="metric of metrics.jsonl")
    direction: Literal["auto", "minimize", "maximize"] = Field(
        "auto",
        description="auto: minimize a loss and what task.py has in lower_is_better, maximize other "
        "metrics",
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tree-structured Parzen estimator (Bergstra et al. 2011), or random"
    )
    pruner: Literal["median", "halving", "none"] = Field(
        "median",
        description="stop a trial that is worse than the median of the others at the same epoch, "
        "or not in the best third at epochs 1, 3, 9, … times the warm-up (successive halving)",
    )
    warmup_epochs: int = Field(5, ge=1, description="epochs before a trial may be stopped")
    patience_minutes: float = Field(
        30.0, gt=0, description="a trial that writes nothing for so long is stopped as failed"
    )
    space: dict[str, Range | list[Any]] = Field(min_length=1)

    @property
    def minimizes(self) -> bool:
        """Whether lower is better."""
        is_loss = self.goal.endswith("loss")
        return is_loss if self.direction == "auto" else self.direction == "minimize"


@dataclass(frozen=True)
class SearchSpace:
    """A valid ``search.yaml`` and the configuration that it varies.

    Attributes:
        file: what was read.
        fields: the searched fields -> a range, or the choices as the configuration has them.
        whole: those of the fields that take whole numbers.
        config: the configuration as given, which trial 0 has.
    """

    file: SearchFile
    fields: Mapping[str, Range | list[Any]]
    whole: frozenset[str]
    config: BaseConfig

    @property
    def needs_task(self) -> bool:
        """Whether only the task knows if lower is better."""
        return self.file.direction == "auto" and not self.file.minimizes

    def orient(self, lower_is_better: Collection[str]) -> "SearchSpace":
        """Return the space with the direction that its goal has in the task.

        Args:
            lower_is_better: see ``Task``.
        """
        if self.file.goal.partition("/")[2] not in lower_is_better:
            return self
        return replace(self, file=self.file.model_copy(update={"direction": "minimize"}))

    def defaults(self) -> dict[str, Any]:
        """Return the values of the searched fields in the configuration as given."""
        return {name: self._default(name) for name in self.fields}

    def _default(self, name: str) -> Any:
        value, field = _value(self.config, name), self.fields[name]
        return field.default if value is None and isinstance(field, Range) else value

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Return the space in Optuna's terms."""
        return {name: self._distribution(name) for name in self.fields}

    def _distribution(self, name: str) -> "BaseDistribution":
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        field = self.fields[name]
        if not isinstance(field, Range):
            return CategoricalDistribution(field)
        if name in self.whole:
            low, high, step = int(field.low), int(field.high), int(field.step or 1)
            return IntDistribution(low, high, log=field.log, step=step)
        return FloatDistribution(field.low, field.high, log=field.log, step=field.step)

    def definition(self) -> dict[str, Any]:
        """Return what all trials of a study must have in common, as JSON."""
        sections = self.config.without_secrets()
        common = {
            f"{section}.{name}": value
            for section in ("data", "model", "train", *find_training_sections())
            for name, value in sections[section].items()
        }
        space = {
            name: field.model_dump(exclude={"default"}) if isinstance(field, Range) else field
            for name, field in self.fields.items()
        }
        left_out = [name for name, reason in NOT_SEARCHED.items() if reason == NO_EFFECT]
        # Files may lie elsewhere on another machine; their contents are compared instead.
        left_out += [*space, "data.cache", "data.path"]
        return {
            "goal": self.file.goal,
            "direction": "minimize" if self.file.minimizes else "maximize",
            "space": space,
            "fields": {k: value for k, value in common.items() if k not in left_out},
        }


def read_space(path: Path, load_config: LoadConfig, words: Sequence[str]) -> SearchSpace:
    """Read and check a search space.

    Args:
        path: the YAML file.
        load_config: words of the command line -> the configuration.
        words: of the command line; the configuration with them is that of trial 0.

    Raises:
        UsageProblem: the file or a field in it is not allowed.
    """
    config = load_config(words)
    file = _parse(path, _read_yaml(path))
    known = dict(iterate_fields(type(config)))
    fields: dict[str, Range | list[Any]] = {}
    whole = set()
    for name, field in file.space.items():
        where = f"{path}: {name}"
        _check_name(path, name, known, file.goal)
        kinds = {known[name].annotation, *get_args(known[name].annotation)}
        if isinstance(field, Range) and not kinds & {int, float}:
            raise UsageProblem(f"{where}: its values are no numbers; write a list of choices.")
        if isinstance(field, Range) and float not in kinds:
            whole.add(name)
            _check_whole(where, field)
        fields[name] = _check_values(where, name, field, load_config, words)
    space = SearchSpace(file, fields, frozenset(whole), config)
    for name in fields:
        _check_default(f"{path}: {name}", space, name)
    return space


def tidy(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are used and written: 0.3 rather than 0.30000000000000004."""
    return {
        name: float(f"{value:.12g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def to_word(value: Any) -> str:
    """Return a value as a word of the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(config: BaseConfig, name: str) -> Any:
    section, field = name.split(".")
    return getattr(getattr(config, section), field)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"--space: {str(path)!r}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"--space: {str(path)!r} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageProblem(f"--space: {str(path)!r} must hold a table with the key 'space'.")
    return content


def _parse(path: Path, content: dict[str, Any]) -> SearchFile:
    space = content.get("space")
    if not isinstance(space, dict) or not space:
        raise UsageProblem(f"{path}: space must hold fields, such as train.learning_rate.")
    fields = {str(name): _parse_field(f"{path}: {name}", field) for name, field in space.items()}
    return cast("SearchFile", _validate(f"{path}: ", SearchFile, {**content, "space": fields}))


def _parse_field(where: str, field: Any) -> Range | list[Any]:
    if isinstance(field, dict):
        return cast("Range", _validate(f"{where}.", Range, field))
    if not isinstance(field, list):
        raise UsageProblem(f"{where}: {field!r} must be a list of choices, or low and high.")
    if len(field) < 2 or len({repr(value) for value in field}) < len(field):
        raise UsageProblem(f"{where}: {field!r} must be two or more different choices.")
    return field


def _validate(where: str, kind: type[Section], values: dict[str, Any]) -> Section:
    for key in values:
        if key not in kind.model_fields:
            raise unknown(f"{where}{key}", str(key), kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    shown = {k: v for k, v in values.items() if k != "space"} if not name else first["input"]
    value = "" if first["type"] == "missing" else f"{shown!r} is not allowed: "
    raise UsageProblem(f"{where}{name}".rstrip(".") + f": {value}{reason[:1].lower()}{reason[1:]}.")


def _check_name(path: Path, name: str, known: Mapping[str, Any], goal: str) -> None:
    allowed = [field for field in known if _is_searchable(field)]
    if name not in known:
        raise unknown(f"{path}: field", name, allowed)
    if name in NOT_SEARCHED:
        raise UsageProblem(f"{path}: {name} may not be searched: {NOT_SEARCHED[name]}")
    if name not in allowed:
        nearest = str(unknown("", name, allowed)).partition("unknown.")[2].strip()
        raise UsageProblem(
            f"{path}: {name} may not be searched: it decides what is measured or where, and "
            f"trials could not be compared. {nearest}"
        )
    if goal == LOSS and name in LOSS_FIELDS:
        raise UsageProblem(
            f"{path}: {name} may not be searched with the goal {LOSS}: it changes what that loss "
            "is. Choose another goal, such as validation/accuracy."
        )


def _is_searchable(name: str) -> bool:
    section, field = name.split(".")
    if section == "data":  # what a model sees of the training split, and nothing else
        return field == "batch_size" or field.startswith("augment_")
    return section in ("model", "train") and name not in NOT_SEARCHED


def _check_whole(where: str, field: Range) -> None:
    for key in ("low", "high", "step", "default"):
        value = getattr(field, key)
        if value is not None and value != int(value):
            raise UsageProblem(f"{where}.{key}: {value} must be a whole number.")


def _check_values(
    where: str, name: str, field: Range | list[Any], load_config: LoadConfig, words: Sequence[str]
) -> Range | list[Any]:
    """Return the field with choices as the configuration reads them."""

    def read(key: str, value: Any) -> Any:
        try:
            return _value(load_config([*words, f"--{name}", to_word(value)]), name)
        except UsageProblem as error:
            reason = str(error).removeprefix(f"{name}: ").replace(" (from the command line)", "")
            raise UsageProblem(f"{where}{key}: {reason}") from None

    if isinstance(field, Range):
        for key in ("low", "high"):
            value = getattr(field, key)
            read(f".{key}", int(value) if value == int(value) else value)
        return field
    return [read("", value) for value in field]


def _check_default(where: str, space: SearchSpace, name: str) -> None:
    value, field = space.defaults()[name], space.fields[name]
    if isinstance(field, Range):
        if value is None:
            raise UsageProblem(
                f"{where}: the field's own value is unset; add default: the number it stands for."
            )
        if not field.holds(value):
            raise UsageProblem(
                f"{where}: the field's own value {value} is not in the range, so that nothing "
                "could be compared with it; widen the range."
            )
    elif value not in field:
        raise UsageProblem(
            f"{where}: the field's own value {value!r} is not among the choices, so that nothing "
            "could be compared with it; add it."
        )
