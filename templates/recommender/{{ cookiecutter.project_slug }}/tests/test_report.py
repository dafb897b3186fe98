"""Metrics computed by hand, and the answers of ``predict``."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import objective, ranking, report
from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.trained_models import find_artifact
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.task import task

ITEMS = tuple("abcdefgh")
CATALOGUE = Preprocessing(
    users=("u",),
    items=ITEMS,
    item_counts=(8, 7, 6, 5, 4, 3, 2, 1),
    recent_item_counts=(1,) * 8,
    max_history=5,
    exclude_seen=True,
)


def recommend(*rows: str) -> np.ndarray:
    outputs = np.full((len(rows), ranking.MAX_RECOMMENDATIONS, 2), -1.0)
    for row, items in zip(outputs, rows, strict=True):
        row[: len(items), 0] = [ITEMS.index(item) for item in items]
    return outputs


def next_items(*rows: tuple[str, ...]) -> np.ndarray:
    outputs = np.empty(len(rows), dtype=object)
    outputs[:] = rows
    return outputs


def test_metrics_by_hand() -> None:
    outputs = recommend("abc", "hgfe", "a")
    targets = next_items(("b",), ("g", "a"), ("z",))
    per_user = ranking.user_metrics(targets, outputs, CATALOGUE)
    gain = 1 / np.log2(3)
    np.testing.assert_allclose(per_user["ndcg_at_10"], [gain, gain / (1 + gain), 0])
    np.testing.assert_allclose(per_user["recall_at_20"], [1, 0.5, 0])
    np.testing.assert_allclose(per_user["mrr"], [0.5, 0.5, 0])
    measured = report.measure(SimpleNamespace(targets=targets), outputs, CATALOGUE)
    assert next(iter(measured)) == "ndcg_at_10"
    assert measured["coverage_at_10"] == 7 / 8
    assert measured["ndcg_at_10_low"] <= measured["ndcg_at_10"] <= measured["ndcg_at_10_high"]


def test_slices_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "as_histories", lambda split: split)
    catalogue = replace(CATALOGUE, users=("u1", "u2"), item_counts=(8, 7, 6, 5, 4, 3, 2, 0))
    split = SimpleNamespace(
        ids=np.array(["u1", "u2", "u3"]),
        targets=next_items(("a",), ("a", "h"), ("z",)),
        history_starts=np.array([0, 2, 5]),
        target_starts=np.array([2, 5, 5]),
    )
    columns = report.slices(split, catalogue)
    assert columns["history length"].tolist() == [2, 3, 0]
    np.testing.assert_allclose(columns["popularity of targets"], [1, 0.5, np.nan])
    assert columns["user"].tolist() == ["known", "known", "new"]
    assert columns["targets"].tolist() == ["known", "new", "new"]


def test_features_of_users_are_columns_to_slice_by(own_folder: Path) -> None:
    Path("users.csv").write_text("user,country,age\nu2,fr,30\nu1,de,20\n")
    config = load_config(["--data.user_features", "users.csv"])
    split = SimpleNamespace(ids=np.array(["u1", "u3", "u2"]))
    columns = report.read_columns(split, ["country", "age"], config)
    assert columns["country"].tolist() == ["de", "", "fr"]
    np.testing.assert_array_equal(columns["age"], [20, np.nan, 30])
    with pytest.raises(UsageProblem, match=r"without data\.user_features"):
        report.read_columns(split, ["country"], load_config([]))


def test_repeated_targets_count_once() -> None:
    # "a" came three times, and what is not in the catalogue twice.
    targets = next_items(("a", "b", "a", "a"), ("y", "c", "z", "y"))
    per_user = ranking.user_metrics(targets, recommend("ab", "c"), CATALOGUE)
    discount = 1 / np.log2([2, 3, 4])
    np.testing.assert_allclose(per_user["ndcg_at_10"], [1, 1 / discount.sum()])
    np.testing.assert_allclose(per_user["recall_at_10"], [1, 1 / 3])
    np.testing.assert_allclose(per_user["mrr"], [1, 1])


def test_recall_curve_ends_in_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    # Several targets outside the catalogue are several that are missed.
    targets = next_items(("a", "y", "z", "y"), ("h", "g", "a"), ("z",), tuple("bcdefgh"))
    outputs = recommend("abc", "bcdefgha", "a", "hb")
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 3)
    curve = ranking.recall_curve(targets, outputs, CATALOGUE)
    per_user = ranking.user_metrics(targets, outputs, CATALOGUE)
    assert curve.shape == (ranking.MAX_RECOMMENDATIONS,)
    np.testing.assert_allclose(curve[0], [(1 + 0 + 0 + 1) / 4])
    for k in (10, 20):
        np.testing.assert_allclose(curve[k - 1], per_user[f"recall_at_{k}"].mean())


def test_metrics_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = recommend("abc", "hgfe", "a"), next_items(("b",), ("g", "a"), ("z",))
    whole = ranking.user_metrics(targets, outputs, CATALOGUE)
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 2)
    for name, values in ranking.user_metrics(targets, outputs, CATALOGUE).items():
        np.testing.assert_array_equal(values, whole[name])


def test_seen_items_are_not_recommended() -> None:
    scores = np.arange(16.0).reshape(2, 8)
    raw = {"history": np.array([["h", "g", "zz"], ["a", "", ""]], dtype=object)}
    kept = objective.postprocess(raw, scores, CATALOGUE)
    assert [ITEMS[int(i)] for i in kept[0, :3, 0]] == ["f", "e", "d"]
    assert kept[1, 0].tolist() == [7, 15]
    assert kept[0, 6].tolist() == [-1, 0], "all others were seen or do not exist"
    unfiltered = objective.postprocess(raw, scores, replace(CATALOGUE, exclude_seen=False))
    assert unfiltered[0, 0, 0] == 7
    answers = objective.decode_predictions(kept, CATALOGUE)
    assert answers[0]["prediction"] == "f"
    assert list(answers[0]["scores"]) == ["f", "e", "d", "c", "b", "a"]


def run_predict(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    capsys.readouterr()
    assert predict([*words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = find_artifact("latest", task, load_config())[0]
    user, items = model.preprocessing.users[0], model.preprocessing.items
    (row,) = run_predict(capsys, "--user", user, "--top-k", "5")
    assert row["id"] == user
    assert len(row["scores"]) == 5
    assert list(row["scores"].values()) == sorted(row["scores"].values(), reverse=True)
    (with_seen,) = run_predict(capsys, "--user", user, "--top-k", "9999", "--include-seen")
    (unseen,) = run_predict(capsys, "--user", user, "--top-k", "9999")
    seen = set(with_seen["scores"]) - set(unseen["scores"])
    assert seen, "the history of the user"
    (allowed,) = run_predict(capsys, "--user", "nobody", "--only", f"{items[4]},{items[2]}")
    assert set(allowed["scores"]) == {items[4], items[2]}
    (similar,) = run_predict(capsys, "--similar-to", items[3])
    assert len(similar["scores"]) == 10
    assert items[3] not in similar["scores"]
    history = f"{items[0]},{items[1]}"
    (row,) = run_predict(capsys, "--history", history, "--top-k", "3")
    assert not {items[0], items[1]} & set(row["scores"])
    several = [word for name in (user, "nobody", user) for word in ("--user", name)]
    (first, _, last) = run_predict(capsys, *several, "--batch-size", "2")
    assert first["scores"].keys() == last["scores"].keys()
    assert predict(["--user", user, "--user", "nobody"]) == 0
    assert capsys.readouterr().out.count("\n   10  ") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--similar-to", "zz"], "--similar-to: 'zz' is not in the catalogue."),
        (["--history", "zz"], "--history: 'zz' is not in the catalogue."),
        (["--user", "u0001", "--only", ","], "--only: name at least one item."),
    ],
)
def test_predict_refuses(
    words: list[str], message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(words) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
