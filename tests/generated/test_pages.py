"""The page of evidence in a real browser, of each template."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates
from tests.benchmarks import report
from tests.generated.browser import WIDTHS, find_faults, open_page

Run = Callable[..., object]
pytestmark = pytest.mark.slow

CLASSES = ["<script>alert(1)</script>", "=cmd()", "\u202egnp.exe", "猫"]


@pytest.mark.parametrize("template", find_templates())
def test_the_page_of_each_template(
    template: str, aistart: Callable, isolated: Path, run_in: Run
) -> None:
    assert aistart("new", template, "demo", "-y").exit_code == 0
    done = run_in(isolated / "demo", "demo", "train", "--config", "configs/smoke.yaml")
    assert done.returncode == 0, done.stderr
    (file,) = (isolated / "demo").glob("runs/*/report/index.html")
    for width, scheme in zip(WIDTHS, ("light", "dark"), strict=True):
        with open_page(file, width, scheme) as page:
            assert find_faults(page) == []
            assert page.locator("h2").first.inner_text() == "The answer"
    with open_page(file) as page:
        cells = page.locator("table").first.locator("tbody tr td:nth-child(2)")
        before = cells.all_inner_texts()
        heading = page.locator("th button").nth(1)
        heading.click()
        assert cells.all_inner_texts() == sorted(before, key=float)
        heading.click()
        assert cells.all_inner_texts() == sorted(before, key=float, reverse=True)
        images = page.locator("figure img")
        assert images.count() >= 3
        for image in images.all():
            assert image.get_attribute("alt")
            assert image.evaluate("image => image.naturalWidth") > 0


def test_a_report_of_many_examples_takes_little_memory(tmp_path: Path) -> None:
    project = report.make_project(tmp_path)
    for size, classes in report.CASES[1:]:
        found = report.measure(project, size, classes)
        assert found["megabytes"] < 300
        assert found["page"] < 3


def test_hostile_names_are_text(aistart: Callable, isolated: Path, run_in: Run) -> None:
    assert aistart("new", "text-classifier", "demo", "-y").exit_code == 0
    rows = [f"word{number % 4} and {number}\t{CLASSES[number % 4]}" for number in range(80)]
    (isolated / "demo/rows.tsv").write_text("\n".join(["text\tlabel", *rows]))
    words = ("--data.source", "tsv", "--data.path", "rows.tsv", "--train.max_steps", "2")
    done = run_in(isolated / "demo", "demo", "train", *words)
    assert done.returncode == 0, done.stderr
    (file,) = (isolated / "demo").glob("runs/*/report/index.html")
    with open_page(file) as page:
        text = page.locator("main").inner_text()
        assert all(name in text for name in CLASSES)
        assert find_faults(page) == []
