"""What a forecast is made of adds up to it."""

from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine import artifact
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.inputs import read_requests
from {{ cookiecutter.package_name }}.task import task


def test_parts_add_up_and_holidays_are_named(trained: Path) -> None:
    model = artifact.load(find_run("latest").model_file, task)
    values = [100.0 + n % 7 for n in range(56)]
    days = ("2026-05-01", "2026-07-20")  # May Day; no holiday in the two weeks
    rows = [{"first_day": day, "values": values} for day in days]
    split = read_requests(rows, model.preprocessing, None).split
    for row, found in enumerate(model.explain(split)):
        assert sum(part.value for part in found.parts) == pytest.approx(found.score, abs=1e-2)
        outputs = model.predict_split(split, 2)[row]
        assert found.score == pytest.approx(float(np.sum(outputs)), rel=1e-4)
        holidays = {part.text: part.value for part in found.parts}["holidays ahead"]
        assert (holidays != 0) == (row == 0)
