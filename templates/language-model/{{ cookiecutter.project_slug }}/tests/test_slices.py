"""Columns that rows of texts are sliced by."""

import json
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.evaluation import slices
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


def test_columns_of_rows(own_folder: Path) -> None:
    rows = [
        {"text": f"Row {n} of thread {n % 12}: {n * 13}" + "." * (n % 30), "thread": f"t{n % 12}"}
        for n in range(240)
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--data.source", "jsonl", "--data.path", "rows.jsonl", "--data.group_column", "thread"]
    config = load_config([*words, "--data.tokens", "byte", "--model.context", "100"])
    data = load(config)
    found = slices.describe(data.train, Preprocessing.fit(data.train, config))
    weights = data.train.read_rows(np.arange(len(data.train)))["weights"]
    np.testing.assert_array_equal(found["tokens"], (weights > 0).sum(1))
    assert found["texts in the row"].max() > 1
    assert all(column.shape == (len(data.train),) for column in found.values())


def test_rows_have_no_columns_of_the_source(own_folder: Path) -> None:
    config = load_config(["--data.limit", "60"])
    with pytest.raises(
        UsageProblem, match=r"data.slice_columns: 'author': rows of tokens are made"
    ):
        slices.read_columns(load(config).test, ["author"], config)
