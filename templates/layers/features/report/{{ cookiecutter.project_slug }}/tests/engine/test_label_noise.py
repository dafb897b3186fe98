"""Labels that may be wrong, and tables of the page."""

import numpy as np

from {{ cookiecutter.package_name }}.engine.report.html import table
from {{ cookiecutter.package_name }}.engine.report.label_noise import find_suspects


def test_planted_wrong_labels_are_found_and_few_right_ones() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 200)
    inputs = random.normal(size=(600, 6)) + 3 * np.eye(6)[truth]
    labels = truth.copy()
    wrong = random.choice(600, 30, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    found = {s.position for s in find_suspects(inputs, np.array(["a", "b", "c"])[labels])}
    assert len(found & set(wrong)) >= 20
    assert len(found - set(wrong)) <= 6
    assert find_suspects(inputs, np.full(600, "a")) == []
    assert find_suspects(inputs[:6], np.array(list("aabbcd"))) == []


def test_long_tables_are_cut_and_say_so() -> None:
    html = table(["class"], [[str(number)] for number in range(1_000)], "Classes")
    assert html.count("<tr>") == 201
    assert "800 more rows are left out." in html
