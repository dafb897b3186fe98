"""Columns that images are sliced by."""

from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.evaluation import slices
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

from .test_data import draw, write_manifest


def test_columns_of_images(own_folder: Path) -> None:
    rows = []
    for number in range(40):
        draw(own_folder / f"{number}.png", number, (8 + number % 2, 8, 3))
        camera = "" if number == 3 else f"camera {number % 3}"
        rows.append(f"{number}.png,{'ab'[number % 2]},{camera},{number}")
    file = write_manifest(own_folder, rows, "path,label,camera,exposure")
    config = load_config(["--data.source", "csv", "--data.path", str(file)])
    data = load(config)
    found = slices.read_columns(data.train, ["camera", "exposure"], config)
    numbers = [int(name.removesuffix(".png")) for name in data.train.ids]
    assert found["exposure"].tolist() == numbers
    expected = ["" if number == 3 else f"camera {number % 3}" for number in numbers]
    assert found["camera"].tolist() == expected
    with pytest.raises(UsageProblem, match=r"'camra' is unknown\. Did you mean 'camera'"):
        slices.read_columns(data.train, ["camra"], config)
    columns = slices.describe(data.train, Preprocessing.fit(data.train, config))
    assert set(columns["pixels of the file"]) == {64.0, 72.0}
    assert np.all((columns["brightness"] > 0) & (columns["brightness"] < 1))
