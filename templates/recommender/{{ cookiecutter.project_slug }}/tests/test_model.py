import re
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from {{ cookiecutter.package_name }} import inputs, ranking
from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import Histories, load
from {{ cookiecutter.package_name }}.datasets.interactions import in_order
from {{ cookiecutter.package_name }}.engine import artifact, loop
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect
from {{ cookiecutter.package_name }}.model import SHARDING_RULES, build, scoring
from {{ cookiecutter.package_name }}.networks import linear
from {{ cookiecutter.package_name }}.networks.features import Features
from {{ cookiecutter.package_name }}.networks.layers import Network
from {{ cookiecutter.package_name }}.networks.transitions import PRIOR, Transitions
from {{ cookiecutter.package_name }}.preprocessing import FIRST, START, Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

from .conftest import QUICK


@pytest.fixture(scope="module")
def data() -> DatasetSplits:
    return load(load_config(["--data.limit", "200"], environment={}))


@pytest.fixture(scope="module")
def preprocessing(data: DatasetSplits) -> Preprocessing:
    return Preprocessing.fit(data.train, load_config([], environment={}))


def built(name: str, preprocessing: Preprocessing, *words: str) -> keras.Model:
    config = load_config(["--model.name", name, "--data.limit", "200", *words], environment={})
    core = build(config, preprocessing)
    random = np.random.default_rng(0)
    for weight in core.trainable_variables:
        weight.assign_add(random.normal(0, 0.1, weight.shape))
    return core


def without_transitions(weights: np.ndarray) -> dict[str, np.ndarray]:
    return {"followed": np.zeros_like(weights), "left": np.zeros_like(weights)}


def network(core: keras.Model) -> Network:
    return core.get_layer("learner").network


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_reloads_with_the_same_predictions(name: str) -> None:
    # Training itself compares the saved file's predictions with those in memory.
    words = ["--model.name", name, "--train.max_steps", "3", "--tracking.register", "false"]
    assert main([*QUICK, *words]) == 0
    run = find_run("latest")
    assert run.summary["model"] == name
    model = artifact.load(run.model_file, task)
    assert model.weights_sha256() == run.summary["weights_sha256"]


@pytest.mark.parametrize("name", MODELS)
def test_padding_and_neighbours_change_nothing(name: str, preprocessing: Preprocessing) -> None:
    items = preprocessing.items
    layer = built(name, preprocessing).get_layer("learner")
    table = preprocessing.transitions.table()
    core = scoring(layer.network, *((table, layer.gate) if layer.transitions else ()))
    model = artifact.Artifact(core, preprocessing, task)
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
    given = {"user": user, "items": items, "weights": weights}
    loss = np.asarray(core(given | without_transitions(weights)))[:, 0]
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
    given |= without_transitions(given["weights"])
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


def _described(size: int, value: float) -> np.ndarray:
    """Features of ``size`` users or items that have one number, the same for all."""
    return np.tile(np.array([[0, value]], "float32"), (size, 1, 1))


def test_earlier_weights_leave_shares_and_features(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--model.name", "two_tower", "--train.init_from", "latest"]
    config = load_config(words, environment={})
    before, now = (
        replace(
            preprocessing,
            counts=preprocessing.counts[::step],
            user_table=_described(len(preprocessing.users), step),
            item_table=_described(len(preprocessing.items), step),
            user_features=Features({"age": (0.0, 1.0)}, {}).to_config(),
            item_features=Features({"price": (0.0, 1.0)}, {}).to_config(),
        )
        for step in (1, -1)
    )
    theirs = network(built("two_tower", before))
    earlier = artifact.Artifact(scoring(theirs), before, task)
    monkeypatch.setattr(loop, "find_artifact", lambda *_: (earlier, config))
    layer = network(loop.build(task, config, now, connect(config.runtime, SHARDING_RULES)))
    np.testing.assert_allclose(layer.shares, np.log(linear.shares(now.counts)), rtol=1e-5)
    for kept, table in ((layer.user_table, now.user_table), (layer.item_table, now.item_table)):
        np.testing.assert_array_equal(np.array(kept)[-len(table) :], table)
    np.testing.assert_array_equal(layer.item_embedding, theirs.item_embedding)


def test_a_network_of_ones_own_may_end_in_half_precision(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = built("mf", preprocessing).get_layer("learner")
    half, queries = keras.layers.Dense(64, dtype="mixed_bfloat16"), learner.network.queries
    monkeypatch.setattr(learner.network, "queries", lambda *given: half(queries(*given)))
    items, weights = np.array([[START, 5, 9]], "int32"), np.ones((1, 2), "float32")
    given = {"user": np.array([1], "int32"), "items": items, "weights": weights}
    assert learner(given | without_transitions(weights)).dtype == "float32"


def test_what_is_drawn_is_as_frequent_as_it_is_popular(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.model.WHOLE", 10)
    learner = built("sasrec", preprocessing, "--model.negatives", "50000").get_layer("learner")
    expected = linear.shares(preprocessing.counts)
    numbers, categorical = [], keras.random.categorical

    def drawn(logits, count, **options):
        numbers.append(logits.shape[0] * logits.shape[1] * count)
        return categorical(logits, count, **options)

    monkeypatch.setattr(keras.random, "categorical", drawn)
    share = np.bincount(np.asarray(learner._drawn()), minlength=len(expected)) / 50_000
    assert len(share) == len(expected), "nothing beyond the catalogue"
    assert np.abs(share - expected).max() < 0.002
    # At a time: draws times the root of the catalogue, not draws times the catalogue.
    assert max(numbers) <= 50_000 * (len(expected) ** 0.5 + 1)


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    for pattern, axes in SHARDING_RULES.items():
        found = [
            weight
            for name in MODELS
            for weight in built(name, preprocessing).weights
            if re.search(pattern, weight.path)
        ]
        assert found, pattern
        assert all(len(weight.shape) == len(axes) for weight in found), pattern


def test_transitions_by_hand() -> None:
    # a a b a c, then b c: of three places.
    first, second = np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 2, 2])
    made = Transitions.of(first, second, 4)
    assert made.totals.tolist() == [3, 2, 0, 0]
    table = made.table()
    assert table.shape == (4, 3, 2)
    assert table[:2, :, 0].tolist() == [[0, 1, 2], [0, 2, 0]]
    np.testing.assert_allclose(table[0, :, 1], 1 / (3 + PRIOR))
    np.testing.assert_allclose(table[1, :, 1], [1 / (2 + PRIOR), 1 / (2 + PRIOR), 0])
    assert not table[2:].any()


def test_what_is_learnt_beside_transitions_is_what_is_scored(
    data: DatasetSplits, preprocessing: Preprocessing
) -> None:
    core = built("sasrec_transitions", preprocessing, "--model.dropout", "0")
    learner = core.get_layer("learner")
    few = data.test.fetch(np.arange(20))
    given = preprocessing.finish(preprocessing.prepare(few))
    held = np.asarray(core(given, training=False))
    scores = artifact.Artifact(
        scoring(learner.network, preprocessing.transitions.table(), learner.gate),
        preprocessing,
        task,
    )(few)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-4)
    place = preprocessing.catalogue_numbers(
        np.array([first for first, *_ in data.test.targets[:20]], dtype=object)
    )
    known = place >= 0
    expected = -scores[np.arange(20), place]
    np.testing.assert_allclose(held[known, 0], expected[known], rtol=1e-3)
    # An event that is learnt does not count for itself.
    learning = np.asarray(core(given, training=True))
    counted = ((given["followed"].numpy() > 0) & (given["weights"].numpy() > 0)).any(axis=1)
    assert counted.sum() > 5
    assert (learning[counted, 0] > held[counted, 0]).all()


def test_counts_of_pairs_are_those_of_the_log(
    data: DatasetSplits, preprocessing: Preprocessing
) -> None:
    prepared = preprocessing.prepare(data.train.fetch(np.arange(30))).numpy()
    log, places = data.train.log, preprocessing.catalogue_numbers(data.train.log.item_ids)
    learnt = data.train.events
    pairs = [
        (places[log.items[event - 1]], places[log.items[event]])
        for event in learnt
        if event and log.users[event - 1] == log.users[event]
    ]
    for row in prepared:
        items = row[1:, 0]
        for before, (item, weight, followed, left) in zip(items, row[2:], strict=False):
            if weight:
                pair = (before - FIRST, item - FIRST)
                assert followed == pairs.count(pair)
                assert left == sum(first == pair[0] for first, _ in pairs)


@pytest.mark.parametrize("name", MODELS)
def test_items_without_events_are_known_by_their_features(
    name: str, preprocessing: Preprocessing
) -> None:
    table = preprocessing.item_table
    more = replace(
        preprocessing,
        items=(*preprocessing.items, "like the first", "like it too", "like the last"),
        counts=(*preprocessing.counts, 0, 0, 0),
        item_table=np.concatenate([table, table[:1], table[:1], table[-1:]]),
    )
    vectors = np.asarray(network(built(name, more)).vectors())
    np.testing.assert_array_equal(vectors[-3], vectors[-2])
    assert np.abs(vectors[-1] - vectors[-2]).max() > 0.01
    assert np.abs(vectors[0] - vectors[-2]).max() > 0.01, "with events an item is itself"


def test_baselines_of_a_large_catalogue_keep_little() -> None:
    items = 400_000
    preprocessing = SimpleNamespace(
        items=range(items), unseen_only=True, catalogue_numbers=lambda ids: ids.astype(int)
    )
    ids = np.arange(items).astype(str).astype(object)
    users = np.arange(64)
    log = in_order(users, users * 3, users, np.ones(64), users.astype(str).astype(object), ids)
    split = Histories(users, users, None, log=log, begins=users, knowns=users + 1, ends=users + 1)
    shapes = []

    def popularity(had: sparse.csr_matrix) -> np.ndarray:
        shapes.append(had.shape)
        return np.tile(np.arange(items, dtype=float), (had.shape[0], 1))

    tracemalloc.start()
    outputs = linear.recommended(split, preprocessing, popularity)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outputs.shape == (64, ranking.MOST, 2)
    assert (outputs[:, 0, 0] == items - 1).all()
    assert sum(rows for rows, _ in shapes) == 64
    # All at once they would be 205 MB, and as much again for each copy.
    assert max(rows * columns for rows, columns in shapes) <= ranking.SCORES
    assert peak < 200e6


def test_neighbours_part_by_part_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    had = sparse.csr_matrix(np.random.default_rng(0).random((60, 40)) < 0.2, dtype=float)
    whole = linear.neighbours(had, most=5)
    counts = np.sqrt(had.toarray().sum(axis=0))
    cosines = (had.T @ had).toarray() / (np.outer(counts, counts) + 10)
    np.fill_diagonal(cosines, 0)
    few = np.sort(cosines, axis=1)[:, -5, None]
    np.testing.assert_allclose(whole.toarray(), np.where(cosines >= few, cosines, 0))
    parts, nearest = [], linear._nearest
    monkeypatch.setattr(linear, "_nearest", lambda *a: parts.append(a[2]) or nearest(*a))
    monkeypatch.setattr(linear, "PRODUCTS", 200)
    np.testing.assert_allclose(linear.neighbours(had, most=5).toarray(), whole.toarray())
    assert len(parts) > 5


def test_ease_by_hand() -> None:
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
