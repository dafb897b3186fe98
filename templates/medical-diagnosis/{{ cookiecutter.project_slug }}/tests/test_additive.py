"""The additive model has curves and pairs where they help, and none elsewhere."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from {{ cookiecutter.package_name }}.networks import additive
from {{ cookiecutter.package_name }}.networks.layers import Terms

COLUMNS = ("x", "y", "z", "site", "site")
BORDERS = (tuple(np.linspace(-1.6, 1.6, 9).round(2)),) * 3


def make_inputs(size: int, seed: int = 0) -> np.ndarray:
    """Three numbers, and a category of two values."""
    random = np.random.default_rng(seed)
    site = random.integers(2, size=size)
    return np.column_stack([random.normal(size=(size, 3)), np.eye(2)[site]]).astype("float32")


def fit_terms(rows: np.ndarray, logits: np.ndarray) -> tuple[Terms, np.ndarray] | None:
    truth = (np.random.default_rng(1).random(len(rows)) < expit(logits)).astype("float32")
    return additive.fit(rows, truth, np.arange(len(rows)), COLUMNS, BORDERS)


def predict_logits(model: tuple[Terms, np.ndarray], rows: np.ndarray) -> np.ndarray:
    terms, weights = model
    return np.asarray(terms(rows), "float64") @ weights[:-1] + weights[-1]


def test_straight_lines_need_no_more() -> None:
    rows = make_inputs(600)
    logits = rows[:, 0] - 0.5 * rows[:, 1]
    model = fit_terms(rows, logits)
    assert model[0].knots == model[0].pairs == []
    truth = (np.random.default_rng(1).random(600) < expit(logits)).astype("float32")
    regression = LogisticRegression(C=0.1).fit(rows, truth)
    np.testing.assert_allclose(
        predict_logits(model, rows), regression.decision_function(rows), atol=0.4
    )


def test_curves() -> None:
    model = fit_terms(make_inputs(2000), 3 * (np.abs(make_inputs(2000)[:, 0]) - 0.7))
    assert model[0].knots == [list(row[1:-1]) for row in BORDERS]
    others = make_inputs(1000, seed=5)
    expected = 3 * (np.abs(others[:, 0]) - 0.7)
    assert np.corrcoef(predict_logits(model, others), expected)[0, 1] > 0.95


def test_pairs() -> None:
    rows = make_inputs(2000)
    model = fit_terms(rows, 1.5 * rows[:, 0] * rows[:, 2])
    # Of one column no two inputs make a pair.
    assert model[0].pairs == [[a, b] for a in range(5) for b in range(a + 1, 5) if (a, b) != (3, 4)]
    others = make_inputs(1000, seed=5)
    assert np.corrcoef(predict_logits(model, others), others[:, 0] * others[:, 2])[0, 1] > 0.95


def test_few_rows_have_no_pairs() -> None:
    rows = make_inputs(150)
    assert fit_terms(rows, 3 * rows[:, 0] * rows[:, 2])[0].pairs == []


def test_what_cannot_be_tried_is_not() -> None:
    rows = make_inputs(60)
    truth = np.arange(60) < 30
    assert additive.fit(rows, truth, np.where(truth, 1, np.arange(60)), COLUMNS, BORDERS) is None


@pytest.mark.parametrize(("knots", "pairs"), [((), ()), (((0.5,), ()), ()), ((), ((0, 1),))])
def test_terms_are_grouped(knots: tuple, pairs: tuple) -> None:
    terms = Terms(knots, pairs, (1.0, 2.0))
    values = np.asarray(terms(np.array([[2.0, 5.0]], "float32")))[0]
    expected = [2.0, 5.0, *([1.5] if knots else []), *([3.0] if pairs else [])]
    np.testing.assert_allclose(values, expected)
    assert terms.groups.tolist() == [0, 0, *([1] if knots or pairs else [])]
    assert terms.compute_output_shape((None, 2)) == (None, len(values))
    again = Terms.from_config(terms.get_config())
    np.testing.assert_array_equal(np.asarray(again(np.array([[2.0, 5.0]], "float32")))[0], values)
