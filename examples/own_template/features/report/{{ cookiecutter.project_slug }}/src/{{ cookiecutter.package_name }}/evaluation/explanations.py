"""What a forecast is made of: the mean of the seasons, holidays, and what else was learnt.

Holidays are left out, as if those days were usual ones; the rest is what the model adds to the mean
of the seasons.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.artifact import Artifact
from ..engine.explanations import Contributions, Part
from ..engine.interfaces import Split
from ..seasons import take_apart

METHOD = "Sums of the days that are forecast, with and without what is named"


def explain(
    model: Artifact, split: Split, positions: np.ndarray, names: Sequence[str] | None = None
) -> list[Contributions]:
    """Explain the sums of forecasts.

    Args:
        model: the trained model.
        split: the windows.
        positions: (batch,) of those to explain.
        names: part of the engine's interface; the sum is what is explained.
    """
    raw = {name: np.asarray(part) for name, part in split.fetch(np.asarray(positions)).items()}
    context = raw["values"].shape[1]
    usual = raw["holidays"].copy()
    usual[:, context:] = 0
    total, without = (_sum(model, raw | {"holidays": flags}) for flags in (raw["holidays"], usual))
    parts = take_apart(model.preprocessing(raw), model.preprocessing.season)
    seasonal = model.preprocessing.decode(np.asarray(parts.forecast)).sum(axis=1)
    return [
        Contributions(
            target=f"{total[row]:.0f}",
            score=float(total[row]),
            method=METHOD,
            parts=(
                Part("mean of the seasons", float(seasonal[row])),
                Part("holidays ahead", float(total[row] - without[row])),
                Part("what else was learnt", float(without[row] - seasonal[row])),
            ),
            difference=float(total[row]),
            separator=" · ",
        )
        for row in range(len(total))
    ]


def _sum(model: Artifact, raw: dict[str, Any]) -> np.ndarray:
    """Return (batch,) the sums of the forecasts of raw inputs."""
    return model.predict_batch(raw).sum(axis=1, dtype="float64")
