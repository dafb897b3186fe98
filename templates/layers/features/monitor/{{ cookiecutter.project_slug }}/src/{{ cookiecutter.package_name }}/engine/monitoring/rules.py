"""``configs/monitor.yaml``: from where on a change counts."""

from pathlib import Path

from pydantic import Field

from ..files import project_root
from ..report.rules import Rules, read_rules

FILE = Path("configs") / "monitor.yaml"


class Limits(Rules):
    """Effect sizes past which a column has drifted; None: not watched."""

    psi: float | None = Field(None, gt=0)
    wasserstein: float | None = Field(None, gt=0)
    total_variation: float | None = Field(None, gt=0, le=1)
    missing: float | None = Field(None, ge=0, le=1)
    out_of_range: float | None = Field(None, ge=0, le=1)
    other_values: float | None = Field(None, ge=0, le=1)


class PerformanceRule(Rules):
    """How much worse the model may be where labels are known."""

    not_worse_by: float | None = Field(None, gt=0)
    min_labels: int = Field(50, ge=10)


class MonitorRules(Rules):
    """``configs/monitor.yaml``; rules that are left out are not checked."""

    min_rows: int = Field(100, ge=10)
    inputs: Limits = Field(default_factory=Limits)
    predictions: Limits = Field(default_factory=Limits)
    columns: dict[str, Limits] = Field(default_factory=dict)
    rejected: float | None = Field(None, ge=0, le=1)
    performance: PerformanceRule = Field(default_factory=PerformanceRule)

    def limits_of(self, part: str, column: str) -> dict[str, float | None]:
        """Return the limits of a column.

        Args:
            part: ``inputs`` or ``predictions``.
            column: its name; limits of its own replace those of the part one by one.
        """
        limits = (self.inputs if part == "inputs" else self.predictions).model_dump()
        own = self.columns.get(column)
        return limits | ({name: getattr(own, name) for name in own.model_fields_set} if own else {})


def read_monitor_rules() -> MonitorRules:
    """Read the rules.

    Raises:
        UsageProblem: there is no such file, a rule is unknown, or its value is not allowed.
    """
    rules: MonitorRules = read_rules(
        project_root() / FILE, FILE, MonitorRules, "the limits of monitor"
    )
    return rules
