"""The model card of risks: its numbers, its tables, and which items of TRIPOD+AI are open."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from {{ cookiecutter.package_name }} import report
from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.engine.tables import write_csv
from {{ cookiecutter.package_name }}.report_page.model_card import describe

from .test_report import PREPROCESSING, SCHEMA, SIZE, make_outputs, make_visits


def describe_visits(folder: Path, split: SimpleNamespace, **other: object) -> dict[str, str]:
    metrics = report.measure(split, make_outputs(make_visits()), PREPROCESSING)
    summary = {
        "run_id": "20260102-030405-abcd",
        "metrics": {f"test/{name}": value for name, value in metrics.items()},
        "data": {"train": 900, "validation": 100, "test": SIZE, "digest": "d1"}
        | {"patients": {"test": SIZE // 2}, "prevalence": {"test": metrics["prevalence"]}},
        "preprocessing": {"missing_rate": {"age": 0.125}},
        "weights_sha256": "w1",
        **other,
    }
    rows = [("crp|high", 2.5), *((f"column {n}", n / 10) for n in range(19, -1, -1))]
    write_csv(folder / report.IMPORTANCE, ["column", "mean_contribution"], rows)
    return describe(
        SimpleNamespace(
            model=SimpleNamespace(preprocessing=PREPROCESSING),
            split=split,
            outputs=make_outputs(make_visits()),
            config=Config(),
            summary=summary,
            report_dir=folder,
        )
    )


def test_parts_of_the_card(tmp_path: Path) -> None:
    split = make_visits()
    parts = describe_visits(tmp_path, split)
    for known in ("v7", SCHEMA.digest, "| reviewed by | nobody |"):
        assert known in parts["Schema"]
    prevalence = f"{split.targets.mean():.4f}"
    assert "| train | 900 | not recorded | not recorded |" in parts["Data and splits"]
    assert f"| test | {SIZE} | {SIZE // 2} | {prevalence} |" in parts["Data and splits"]
    assert "synthetic: no real patients" in parts["Data and splits"]
    assert "| age | number | years | 0 to 120 years | 0.1250 |" in parts["Columns"]
    assert "| crp\\|high | number | mg/l | 0 to any mg/l | not recorded |" in parts["Columns"]
    decisions = parts["Operating point and calibration"]
    assert "risk of 0.250 or more" in decisions
    assert "sensitivity of 0.9 on the validation split" in decisions
    assert "AUROC is lowest for male" in parts["Subgroups"]
    shown = parts["Importance of the columns"]
    assert shown.index("crp\\|high") < shown.index("column 19") < shown.index("column 6")
    assert "column 5 " not in shown, "fifteen are shown"
    assert "20260102-030405-abcd" in parts["How to trace a prediction"]


def test_tables_are_whole_and_reveal_no_patient(tmp_path: Path) -> None:
    split = make_visits()
    for text in describe_visits(tmp_path, split).values():
        assert not [name for name in (*split.ids, *split.patients) if name in text]
        widths: set[int] = set()
        for line in text.splitlines():
            if line.startswith("|"):
                widths.add(line.replace("\\|", "").count("|"))
                assert len(widths) == 1, line
            else:
                widths.clear()


def test_items_are_open_until_somebody_writes(tmp_path: Path, own_folder: Path) -> None:
    split = make_visits(risk=None, subgroups={}, patients=np.full(SIZE, "", dtype=object))
    parts = describe_visits(tmp_path, split, preprocessing={})
    assert "| synthetic or real | not recorded |" in parts["Data and splits"]
    assert "the metrics of none are known" in parts["Subgroups"]
    assert "| 26 | limitations | open: limits.md |" in parts["TRIPOD+AI"]
    written = own_folder / "docs/model_card/limits.md"
    written.parent.mkdir(parents=True)
    written.write_text("Not for children.")
    parts = describe_visits(tmp_path, split)
    assert "| 26 | limitations | limits.md |" in parts["TRIPOD+AI"]
