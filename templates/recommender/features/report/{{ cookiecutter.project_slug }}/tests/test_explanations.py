"""Because of which items others are recommended, where it is known, and with every model."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }} import inputs
from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.explanations import TOLERANCE, delete_parts
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.trained_models import find_artifact
from {{ cookiecutter.package_name }}.evaluation.explanations import (
    NO_HISTORY,
    NOT_READ,
    NOTHING_LEFT,
)
from {{ cookiecutter.package_name }}.model import build, build_scorer
from {{ cookiecutter.package_name }}.networks.layers import MatrixFactorization, Network
from {{ cookiecutter.package_name }}.prediction import format_predictions
from {{ cookiecutter.package_name }}.preprocessing import FIRST_ITEM, Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

ITEMS = tuple("abcdefghijklmnop")


class Sum(Network):
    """A query is the sum of what the items before it add."""

    def embed_queries(self, user, items, training):
        return keras.ops.cumsum(keras.ops.take(self.additions, items, axis=0), axis=1)

    def build_layers(self) -> None:
        shape = (FIRST_ITEM + self.num_items, self.embedding_dim)
        self.additions = self.add_weight(shape, "zeros", name="additions")


@pytest.fixture
def known() -> Artifact:
    """A model in which ``a`` is a reason for ``p``, ``b`` as much, and ``c`` against it."""
    size = len(ITEMS)
    network = Sum(num_users=0, num_items=size, num_warm_items=size, embedding_dim=size)
    network.build()
    network.item_embedding.assign(np.pad(np.eye(size), [(FIRST_ITEM, 0), (0, 0)]))
    additions = np.zeros((FIRST_ITEM + size, size))
    for item, amount in (("a", 2.0), ("b", 2.0), ("c", -1.0)):
        additions[FIRST_ITEM + ITEMS.index(item), ITEMS.index("p")] = amount
    network.additions.assign(additions)
    counts = tuple(range(1, size + 1))
    preprocessing = Preprocessing(("u",), ITEMS, counts, counts, 12, True)
    return Artifact(build_scorer(network), preprocessing, task)


def explain(model: Artifact, *histories: str, names: list[str] | None = None) -> list:
    split = inputs.make_split(["u"] * len(histories), [list(history) for history in histories])
    return model.explain(split, names=names)


def values_of(explanation) -> dict[str, float]:
    return {part.text: part.value for part in explanation.parts}


@pytest.mark.parametrize("history", ["dabc", "aefghijklbdc"])
def test_the_planted_items_are_named(known: Artifact, history: str) -> None:
    (told,) = explain(known, history)
    assert told.target == "p"
    values = values_of(told)
    assert list(values) == list(history), "the oldest first"
    np.testing.assert_allclose(values["a"], values["b"], rtol=0.02)
    assert values["a"] > 1
    assert values["c"] < -0.3
    others = [values[item] for item in history if item not in "abc"]
    np.testing.assert_allclose(others, 0, atol=0.06)
    probability = np.exp(3) / (np.exp(3) + 15)
    np.testing.assert_allclose(sum(values.values()), np.log(probability * 16), rtol=1e-4)
    np.testing.assert_allclose(told.difference, sum(values.values()))
    assert {part.text for part in told.strongest(2)} == {"a", "b"}


def test_items_are_explained_by_name_and_several_times(known: Artifact) -> None:
    told = explain(known, "ad", "", "adad", names=["k", "p", "p"])
    assert [explanation.target for explanation in told] == ["k", "p", "p"]
    assert values_of(told[0])["a"] < 0, "what makes p likelier makes k less likely"
    assert told[1].note == NO_HISTORY
    assert list(values_of(told[2])) == ["a", "d"], "an item that occurs twice is named once"
    split = inputs.make_split(["u", "u"], [["a"], ["b"]])
    several = known.explain(split, np.array([1, 0, 1]), ["p", "p", "k"])
    assert [list(values_of(e)) for e in several] == [["b"], ["a"], ["b"]]
    assert [e.target for e in several] == ["p", "p", "k"]
    with pytest.raises(DataProblem, match="'zz' is not in the catalogue"):
        explain(known, "a", names=["zz"])


def test_only_the_newest_items_are_read(known: Artifact) -> None:
    (told,) = explain(known, "a" + "defghijklmno")
    assert "a" not in values_of(told)
    assert told.note == NOT_READ or not any(values_of(told).values())


def test_unknown_items_and_nothing_left(known: Artifact) -> None:
    split = inputs.make_split(["x"], [["never seen", "a"]])
    (told,) = known.explain(split)
    assert list(values_of(told)) == ["never seen", "a"]
    (told,) = explain(known, "".join(ITEMS))
    assert told.note == NOTHING_LEFT
    assert told.parts == ()
    json.dumps(told.to_json())


@pytest.fixture(scope="module")
def data() -> DatasetSplits:
    return load(load_config(["--data.limit", "150", *SMALL], environment={}))


SMALL = ["--data.max_history", "10", "--model.embedding_dim", "16", "--model.num_blocks", "1"]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, data: DatasetSplits) -> Artifact:
    """A model with random weights."""
    config = load_config(["--model.name", request.param, *SMALL], environment={})
    preprocessing = Preprocessing.fit(data.train, config)
    keras.utils.set_random_seed(0)
    network = build(config, preprocessing)
    random = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign_add(random.normal(0, 0.2, weight.shape))
    return task.finalize(Artifact(network, preprocessing, task), data, config)


def reads_history(model: Artifact) -> bool:
    return not isinstance(model.network.get_layer("scorer").network, MatrixFactorization)


def log_prob(model: Artifact, histories: list[list[str]], user: str, item: str) -> np.ndarray:
    raw = inputs.build_raw_inputs([user] * len(histories), histories)
    scores = model(raw).astype("float64")
    place = model.preprocessing.items.index(item)
    return scores[:, place] - np.log(np.exp(scores).sum(axis=1))


def test_values_add_up(model: Artifact, data: DatasetSplits) -> None:
    positions = np.arange(6)
    told = model.explain(data.test, positions)
    for position, explanation in zip(positions, told, strict=True):
        assert (explanation.note == NOT_READ) == (not reads_history(model))
        history = [part.text for part in explanation.parts]
        assert len(history) <= 10
        raw = data.test.fetch(positions[position : position + 1])
        written = [name.decode() for name in np.asarray(raw["history"])[0] if name][-10:]
        assert history == list(dict.fromkeys(written))
        user = np.asarray(raw["user"])[0].decode()
        whole, none = log_prob(model, [written, []], user, explanation.target)
        total = sum(part.value for part in explanation.parts)
        np.testing.assert_allclose(total, whole - none, rtol=TOLERANCE, atol=1e-4)


def test_deleting_what_is_named_changes_most(model: Artifact, data: DatasetSplits) -> None:
    falls = []
    for position, told in enumerate(model.explain(data.test, np.arange(8))):
        raw = data.test.fetch(np.array([position]))
        user = np.asarray(raw["user"])[0].decode()
        written = [name.decode() for name in np.asarray(raw["history"])[0] if name][-10:]
        if told.note or len(set(written)) < 4:
            continue
        names = [part.text for part in told.parts]

        def output(
            kept: np.ndarray,
            names: list[str] = names,
            written: list[str] = written,
            user: str = user,
            item: str = told.target,
        ) -> np.ndarray:
            named = [
                {name for name, there in zip(names, row, strict=True) if there} for row in kept
            ]
            histories = [[name for name in written if name in own] for own in named]
            return log_prob(model, histories, user, item)

        falls.append(delete_parts(output, np.array([part.value for part in told.parts])))
    if not reads_history(model):
        assert not falls
        return
    named, others = np.mean(falls, axis=0)
    assert named > others + 0.05, (named, others)


def test_predict_explains(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = find_artifact("latest", task, load_config())[0]
    user, items = model.preprocessing.users[0], model.preprocessing.items
    capsys.readouterr()
    words = ["--user", user, "--user", "nobody", "--top-k", "3", "--explain"]
    assert predict([*words, "--json"]) == 0
    first, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [told["target"] for told in first["explanation"]] == list(first["scores"])
    np.testing.assert_allclose(
        [told["score"] for told in first["explanation"]],
        list(first["scores"].values()),
        rtol=1e-4,
    )
    # The run's model is matrix factorization.
    assert {told["note"] for told in first["explanation"]} == {NOT_READ}
    assert {told["note"] for told in other["explanation"]} == {NO_HISTORY}
    assert predict(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == f"  ({NOT_READ})"
    assert lines[-1] == f"  ({NO_HISTORY})"
    assert predict(["--similar-to", items[0], "--explain"]) == 2
    assert "--explain: similar items come from no history" in capsys.readouterr().err


def test_the_table_names_what_speaks_for_an_item(known: Artifact) -> None:
    told = explain(known, "abc", "abc", names=["p", "k"])
    rows = [{"id": "u", "scores": {"p": 2.0, "k": 1.0}, "explanation": [t.to_json() for t in told]}]
    _, first, second = format_predictions(rows)
    assert re.fullmatch(r"    1  p  2.000  because of [ab] \+1\.\d\d, [ab] \+1\.\d\d", first)
    assert second.startswith("    2  k  1.000  because of c +0.")
