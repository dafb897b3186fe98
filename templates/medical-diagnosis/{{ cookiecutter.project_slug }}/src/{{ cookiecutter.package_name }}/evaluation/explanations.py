"""Which columns of a row raise or lower its risk.

Explanations hold the values of patients: they are for the person who asks, and neither for logs nor
for the report.
"""

from collections.abc import Sequence

import numpy as np

from ..data import Visits
from ..datasets.schema import Schema
from ..engine.artifact import Artifact
from ..engine.errors import DataProblem
from ..engine.explanations import Contributions, Part
from ..engine.interfaces import Split
from ..objective import risks
from . import attributions

UNIT = "log-odds added to those of the average patient"


def explain(
    model: Artifact, split: Split, positions: np.ndarray, names: Sequence[str] | None = None
) -> list[Contributions]:
    """Explain the risks of rows.

    Args:
        model: a finalized model.
        split: the ``Visits``.
        positions: (batch,) of the rows to explain.
        names: (batch,) of the outcome's texts for yes and no; None: yes, whose risk it is.

    Raises:
        DataProblem: a name is not one of the outcome's.
    """
    assert isinstance(split, Visits), "data.load and inputs.read_rows make these"
    preprocessing = model.preprocessing
    schema = preprocessing.schema
    outcome = schema.columns[schema.outcome]
    wanted = [outcome.yes] * len(positions) if names is None else list(names)
    for name in wanted:
        if name not in (outcome.yes, outcome.no):
            raise DataProblem(f"outcome: {name!r} is neither {outcome.yes!r} nor {outcome.no!r}.")
    inputs = np.asarray(preprocessing(split.fetch(positions)))
    risk = risks(model.outputs(inputs))
    found = attributions.attribute(model, inputs)
    columns = attributions.input_columns(model)
    explanations = []
    for row, (position, name) in enumerate(zip(positions, wanted, strict=True)):
        sign = 1 if name == outcome.yes else -1
        texts = describe_row(split, int(position), columns)
        values = map(float, sign * found.values[row])
        explanations.append(
            Contributions(
                target=name,
                score=float(risk[row] if sign > 0 else 1 - risk[row]),
                method=f"integrated gradients: {describe_unit(model)}",
                error=float(found.error[row]),
                parts=tuple(map(Part, texts, values)),
                difference=float(sign * found.difference[row]),
                separator=", ",
            )
        )
    return explanations


def describe_unit(model: Artifact) -> str:
    """Say what the values of columns are."""
    isotonic = model.preprocessing.recalibration == "isotonic"
    return f"{UNIT}, before recalibration" if isotonic else UNIT


def describe_row(split: Visits, row: int, columns: Sequence[str]) -> list[str]:
    """Return columns with the values of a row, as a person reads them."""
    schema = split.schema
    shown = {
        name: _describe_number(schema, name, value)
        for name, value in zip(schema.numbers, split.numbers[row], strict=True)
    }
    shown |= dict(zip(schema.categories, map(str, split.categories[row]), strict=True))
    return [f"{name} {shown[name] or 'missing'}" for name in columns]


def _describe_number(schema: Schema, name: str, value: float) -> str:
    column = schema.columns[name]
    if np.isnan(value):
        return ""
    if column.kind == "boolean":
        return (column.yes or "yes") if value else (column.no or "no")
    unit = column.unit if column.kind == "number" else "days"
    return f"{value:.6g} {unit}".rstrip()
