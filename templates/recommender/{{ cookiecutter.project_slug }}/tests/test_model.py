import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import artifact, inputs, linear
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.contract import Data
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.model import LAYOUT, MODELS, build, scoring
from {{ cookiecutter.package_name }}.networks import Network
from {{ cookiecutter.package_name }}.preprocessing import FIRST, START, Preprocessing
from {{ cookiecutter.package_name }}.runs import find_run
from {{ cookiecutter.package_name }}.train import main

from .conftest import QUICK


@pytest.fixture(scope="module")
def data() -> Data:
    return load(load_config(["--data.limit", "200"], environment={}))


@pytest.fixture(scope="module")
def preprocessing(data: Data) -> Preprocessing:
    return Preprocessing.fit(data.train, load_config([], environment={}))


def built(name: str, preprocessing: Preprocessing, *words: str) -> keras.Model:
    config = load_config(["--model.name", name, "--data.limit", "200", *words], environment={})
    core = build(config, preprocessing)
    random = np.random.default_rng(0)
    core.set_weights(
        [w + random.normal(0, 0.1, w.shape).astype(w.dtype) for w in core.get_weights()]
    )
    return core


def network(core: keras.Model) -> Network:
    return core.get_layer("learner").network


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_reloads_with_the_same_predictions(name: str) -> None:
    # Training itself compares the saved file's predictions with those in memory.
    words = ["--model.name", name, "--train.max_steps", "3", "--tracking.register", "false"]
    assert main([*QUICK, *words]) == 0
    run = find_run("latest")
    assert run.summary["model"] == name
    model = artifact.load(run.model_file)
    assert model.weights_sha256() == run.summary["weights_sha256"]


@pytest.mark.parametrize("name", MODELS)
def test_padding_and_neighbours_change_nothing(name: str, preprocessing: Preprocessing) -> None:
    items = preprocessing.items
    square = np.random.default_rng(0).normal(size=(len(items),) * 2)
    tables = {"ease": square, "transitions": square, "recent": np.zeros(len(items))}
    core = scoring(network(built(name, preprocessing)), tables)
    model = artifact.Artifact(core, preprocessing)
    users = [preprocessing.users[0], "nobody", preprocessing.users[1]]
    histories = [list(items[:9]), [], [items[3], "unheard of"]]
    together = model(inputs.raw(users, histories))
    assert np.isfinite(together).all()
    for row, (user, history) in enumerate(zip(users, histories, strict=True)):
        alone = model(inputs.raw([user], [history]))
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_no_query_sees_what_comes_later(name: str, preprocessing: Preprocessing) -> None:
    layer = network(built(name, preprocessing))
    history = np.array([[START, 5, 9, 7, 11]])
    changed = np.array([[START, 5, 9, 20, 8]])
    user = np.array([1])
    before, after = (
        np.asarray(layer.queries(user, tf.constant(items), False)) for items in (history, changed)
    )
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-5)
    if name != "mf":
        assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1e-3


def test_loss_by_hand(preprocessing: Preprocessing) -> None:
    core = built("sasrec", preprocessing)
    layer = network(core)
    items = np.array([[START, 5, 9, 7], [START, 8, 0, 0]], "int32")
    weights = np.array([[0, 1, 2], [1, 0, 0]], "float32")
    user = np.array([1, 2], "int32")
    loss = np.asarray(core({"user": user, "items": items, "weights": weights}))[:, 0]
    logits = np.asarray(layer.scores(layer.queries(user, tf.constant(items[:, :-1]), False)))
    likely = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    each = -np.array([likely[0, 1, 9 - FIRST], likely[0, 2, 7 - FIRST], likely[1, 0, 8 - FIRST]])
    np.testing.assert_allclose(loss, [(each[0] + 2 * each[1]) / 3, each[2]], rtol=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "two_tower"])
def test_large_catalogues_are_compared_with_some_items(
    name: str, preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.model.WHOLE", 10)
    core = built(name, preprocessing, "--model.negatives", "4096")
    items = np.array([[START, 5, 9, 7], [START, 8, 6, 0]], "int32")
    given = {
        "user": np.array([1, 2], "int32"),
        "items": items,
        "weights": np.array([[1, 1, 1], [1, 1, 0]], "float32"),
    }
    outputs = np.asarray(core(given))
    assert np.isfinite(outputs).all()
    if name == "two_tower":
        # Against what came next in the batch: five items, one of them the right one.
        layer = network(core)
        others = items[:, 1:][items[:, 1:] > 0]
        queries = np.asarray(layer.queries(given["user"], tf.constant(items[:, :-1]), False))
        vectors = np.asarray(layer.vectors(tf.constant(others)))
        logits = queries[0, 0] @ vectors.T - np.asarray(layer.shares)[others - FIRST]
        first = np.log(np.exp(logits).sum()) - logits[0]
        alone = given | {"weights": np.array([[1, 1e-6, 1e-6], [1, 1, 0]], "float32")}
        np.testing.assert_allclose(np.asarray(core(alone))[0, 0], first, rtol=1e-3)


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    for pattern, axes in LAYOUT.items():
        found = [
            weight
            for name in MODELS
            for weight in built(name, preprocessing).weights
            if re.search(pattern, weight.path)
        ]
        assert found, pattern
        assert all(len(weight.shape) == len(axes) for weight in found), pattern


def test_fading_histories_are_those_of_the_baseline(
    data: Data, preprocessing: Preprocessing
) -> None:
    tables = {"ease": np.eye(len(preprocessing.items))}
    core = scoring(network(built("sasrec", preprocessing)), tables)
    layer = core.get_layer("scores")
    items = {name: place for place, name in enumerate(preprocessing.items)}
    few = np.arange(20)
    raw = data.test.fetch(few)
    prepared = {name: np.asarray(value) for name, value in preprocessing(raw).items()}
    faded = np.asarray(layer.views(prepared)[1])
    _, expected = next(linear.histories(data.test, items, linear.HALF_LIFE))
    # A history that is longer than what a model sees differs in what hardly counts.
    np.testing.assert_allclose(faded, expected.toarray()[:20], atol=1e-3)


def test_ease_by_hand() -> None:
    from scipy import sparse

    had = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]], float))
    weights = linear.ease(had, ridge=1.0)
    assert np.diag(weights).tolist() == [0, 0, 0]
    # Each column is the ridge regression of an item on the others.
    for item in range(3):
        others = [i for i in range(3) if i != item]
        x, y = had.toarray()[:, others], had.toarray()[:, item]
        solved = np.linalg.solve(x.T @ x + np.eye(2), x.T @ y)
        np.testing.assert_allclose(weights[others, item], solved, rtol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        "--data.split time --data.repeats keep --model.name two_tower",
        "--data.max_history 8 --data.cache disk --data.least_events 5 --model.blocks 1",
        "--data.cache none --model.width 32 --runtime.precision mixed_bfloat16",
    ],
)
def test_every_option_trains(words: str) -> None:
    assert main([*QUICK, *words.split(), "--tracking.register", "false"]) == 0
    keras.config.set_dtype_policy("float32")
