"""Columns that texts are sliced by."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.evaluation import slices
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


def test_columns_of_texts(own_folder: Path) -> None:
    texts = ("the box is broken and it was late", "我的包裹还没有到", "где моя посылка")
    rows = ["key,text,label,channel,age"]
    rows += [
        f"k{n},{texts[n % 3]} {n},{'ab'[n % 2]},{'web' if n % 4 else ''},{n}" for n in range(60)
    ]
    Path("rows.csv").write_text("\n".join(rows), encoding="utf-8")
    words = ["--data.source", "csv", "--data.path", "rows.csv", "--data.id_column", "key"]
    config = load_config(words)
    data = load(config)
    found = slices.read_columns(data.test, ["age", "channel"], config)
    assert [f"k{int(age)}" for age in found["age"]] == data.test.ids.tolist()
    assert set(found["channel"]) == {"web", ""}
    with pytest.raises(UsageProblem, match=r"'chanel' is unknown\. Did you mean 'channel'"):
        slices.read_columns(data.test, ["chanel"], config)
    columns = slices.describe(data.train, Preprocessing.fit(data.train, config))
    assert set(columns["language"]) == {"English", "Chinese characters", "Cyrillic"}
    assert columns["tokens"].min() > 0


def test_a_source_without_columns() -> None:
    config = load_config(["--data.limit", "60"])
    with pytest.raises(UsageProblem, match="the source 'tickets' has no further columns"):
        slices.read_columns(load(config).test, ["channel"], config)
