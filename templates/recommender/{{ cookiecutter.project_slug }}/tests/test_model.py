import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from scipy.special import log_softmax, logsumexp

from {{ cookiecutter.package_name }} import inputs, ranking
from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import Histories, load
from {{ cookiecutter.package_name }}.datasets.interactions import sort_interactions
from {{ cookiecutter.package_name }}.engine import artifact, loop
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect
from {{ cookiecutter.package_name }}.model import SHARDING_RULES, build, build_scorer
from {{ cookiecutter.package_name }}.networks import linear
from {{ cookiecutter.package_name }}.networks.features import FeatureEncoder
from {{ cookiecutter.package_name }}.networks.layers import Network
from {{ cookiecutter.package_name }}.networks.transitions import PRIOR_COUNT, Transitions
from {{ cookiecutter.package_name }}.preprocessing import FIRST_ITEM, START, Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

from .conftest import QUICK

# Few users with short histories: one or two shapes to compile, whatever the model.
SMALL = ["--data.limit", "100", "--data.max_history", "4", "--data.batch_size", "128"]
SMALL += ["--model.num_blocks", "1"]


@pytest.fixture(scope="module")
def data() -> DatasetSplits:
    return load(load_config(["--data.limit", "200"], environment={}))


@pytest.fixture(scope="module")
def preprocessing(data: DatasetSplits) -> Preprocessing:
    return Preprocessing.fit(data.train, load_config([], environment={}))


def build_model(name: str, preprocessing: Preprocessing, *words: str) -> keras.Model:
    config = load_config(["--model.name", name, "--data.limit", "200", *words], environment={})
    model = build(config, preprocessing)
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign_add(random.normal(0, 0.1, weight.shape))
    return model


def zero_transitions(weights: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "transition_counts": np.zeros_like(weights),
        "transition_totals": np.zeros_like(weights),
    }


def get_network(model: keras.Model) -> Network:
    return model.get_layer("next_item_loss").network


# Each model is trained with other options: the combinations would show nothing more.
OPTIONS = {
    "sasrec": "--data.max_history 8 --data.cache disk --data.min_interactions 5",
    "two_tower": "--data.split time --data.repeats keep",
    "mf": "--data.cache none --model.embedding_dim 32 --runtime.precision mixed_bfloat16",
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_reloads_with_the_same_predictions(
    name: str, request: pytest.FixtureRequest
) -> None:
    if name != "two_tower":  # its users have several targets, which the report shows
        request.getfixturevalue("fit_alone")
    # Training itself compares the saved file's predictions with those in memory.
    words = ["--model.name", name, "--train.max_steps", "2", "--tracking.register", "false"]
    assert main([*QUICK, *SMALL, *words, *OPTIONS.get(name, "").split()]) == 0
    keras.config.set_dtype_policy("float32")
    run = find_run("latest")
    assert run.summary["model"] == name
    model = artifact.load(run.model_file, task)
    assert model.weights_sha256() == run.summary["weights_sha256"]


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_padding_or_batch(name: str, preprocessing: Preprocessing) -> None:
    items = preprocessing.items
    layer = build_model(name, preprocessing).get_layer("next_item_loss")
    table = preprocessing.transitions.top_followers()
    scorer = build_scorer(layer.network, *((table, layer.gate) if layer.use_transitions else ()))
    model = artifact.Artifact(scorer, preprocessing, task)
    users = [preprocessing.users[0], "nobody", preprocessing.users[1]]
    histories = [list(items[:9]), [], [items[3], "unheard of"]]
    together = model(inputs.build_raw_inputs(users, histories))
    assert np.isfinite(together).all()
    for row, (user, history) in enumerate(zip(users, histories, strict=True)):
        alone = model(inputs.build_raw_inputs([user], [history]))
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_queries_do_not_see_later_items(name: str, preprocessing: Preprocessing) -> None:
    layer = get_network(build_model(name, preprocessing))
    history = np.array([[START, 5, 9, 7, 11]])
    changed = np.array([[START, 5, 9, 20, 8]])
    user = np.array([1])
    before, after = (
        np.asarray(layer.embed_queries(user, tf.constant(items), False))
        for items in (history, changed)
    )
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-5)
    if name != "mf":
        assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1e-3


def test_loss_by_hand(preprocessing: Preprocessing) -> None:
    model = build_model("sasrec", preprocessing)
    layer = get_network(model)
    items = np.array([[START, 5, 9, 7], [START, 8, 0, 0]], "int32")
    weights = np.array([[0, 1, 2], [1, 0, 0]], "float32")
    user = np.array([1, 2], "int32")
    given = {"user": user, "items": items, "weights": weights}
    loss = np.asarray(model(given | zero_transitions(weights)))[:, 0]
    logits = np.asarray(layer.score(layer.embed_queries(user, tf.constant(items[:, :-1]), False)))
    log_prob = log_softmax(logits, axis=-1)
    each = -np.array(
        [
            log_prob[0, 1, 9 - FIRST_ITEM],
            log_prob[0, 2, 7 - FIRST_ITEM],
            log_prob[1, 0, 8 - FIRST_ITEM],
        ]
    )
    np.testing.assert_allclose(loss, [(each[0] + 2 * each[1]) / 3, each[2]], rtol=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "two_tower"])
def test_large_catalogues_use_sampled_softmax(
    name: str, preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.model.FULL_SOFTMAX_ITEMS", 10)
    model = build_model(name, preprocessing, "--model.num_negatives", "4096")
    items = np.array([[START, 5, 9, 7], [START, 8, 6, 0]], "int32")
    given = {
        "user": np.array([1, 2], "int32"),
        "items": items,
        "weights": np.array([[1, 1, 1], [1, 1, 0]], "float32"),
    }
    given |= zero_transitions(given["weights"])
    outputs = np.asarray(model(given))
    assert np.isfinite(outputs).all()
    if name == "two_tower":
        # Compared with the targets of the batch: five items, one of them the right one.
        layer = get_network(model)
        others = items[:, 1:][items[:, 1:] > 0]
        queries = np.asarray(layer.embed_queries(given["user"], tf.constant(items[:, :-1]), False))
        vectors = np.asarray(layer.embed_items(tf.constant(others)))
        logits = queries[0, 0] @ vectors.T - np.asarray(layer.log_popularity)[others - FIRST_ITEM]
        first = logsumexp(logits) - logits[0]
        alone = given | {"weights": np.array([[1, 1e-6, 1e-6], [1, 1, 0]], "float32")}
        np.testing.assert_allclose(np.asarray(model(alone))[0, 0], first, rtol=1e-3)


def _constant_features(size: int, value: float) -> np.ndarray:
    """Encode one number, the same for ``size`` users or items."""
    return np.tile(np.array([[0, value]], "float32"), (size, 1, 1))


def test_init_from_keeps_popularity_and_features(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--model.name", "two_tower", "--train.init_from", "latest"]
    config = load_config(words, environment={})
    before, now = (
        replace(
            preprocessing,
            item_counts=preprocessing.item_counts[::step],
            user_table=_constant_features(len(preprocessing.users), step),
            item_table=_constant_features(len(preprocessing.items), step),
            user_features=FeatureEncoder({"age": (0.0, 1.0)}, {}).to_config(),
            item_features=FeatureEncoder({"price": (0.0, 1.0)}, {}).to_config(),
        )
        for step in (1, -1)
    )
    earlier_network = get_network(build_model("two_tower", before))
    earlier = artifact.Artifact(build_scorer(earlier_network), before, task)
    monkeypatch.setattr(loop, "find_artifact", lambda *_: (earlier, config))
    layer = get_network(loop.build(task, config, now, connect(config.runtime, SHARDING_RULES)))
    np.testing.assert_allclose(
        layer.log_popularity, np.log(linear.popularity(now.item_counts)), rtol=1e-5
    )
    for weight, table in ((layer.user_table, now.user_table), (layer.item_table, now.item_table)):
        np.testing.assert_array_equal(np.array(weight)[-len(table) :], table)
    np.testing.assert_array_equal(layer.item_embedding, earlier_network.item_embedding)


def test_custom_network_in_half_precision(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_layer = build_model("mf", preprocessing).get_layer("next_item_loss")
    half, queries = keras.layers.Dense(64, dtype="mixed_bfloat16"), loss_layer.network.embed_queries
    monkeypatch.setattr(loss_layer.network, "embed_queries", lambda *given: half(queries(*given)))
    items, weights = np.array([[START, 5, 9]], "int32"), np.ones((1, 2), "float32")
    given = {"user": np.array([1], "int32"), "items": items, "weights": weights}
    assert loss_layer(given | zero_transitions(weights)).dtype == "float32"


def test_negatives_are_sampled_by_popularity(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.model.FULL_SOFTMAX_ITEMS", 10)
    loss_layer = build_model("sasrec", preprocessing, "--model.num_negatives", "50000").get_layer(
        "next_item_loss"
    )
    expected = linear.popularity(preprocessing.item_counts)
    numbers, categorical = [], keras.random.categorical

    def sample(logits, count, **options):
        numbers.append(logits.shape[0] * logits.shape[1] * count)
        return categorical(logits, count, **options)

    monkeypatch.setattr(keras.random, "categorical", sample)
    share = (
        np.bincount(np.asarray(loss_layer._sample_negatives()), minlength=len(expected)) / 50_000
    )
    assert len(share) == len(expected), "no index beyond the catalogue"
    assert np.abs(share - expected).max() < 0.002
    # Random numbers: samples times the root of the catalogue, not times the catalogue.
    assert max(numbers) <= 50_000 * (len(expected) ** 0.5 + 1)


def test_layout_matches_weights(preprocessing: Preprocessing) -> None:
    weights = [weight for name in MODELS for weight in build_model(name, preprocessing).weights]
    for pattern, axes in SHARDING_RULES.items():
        shapes = [weight.shape for weight in weights if re.search(pattern, weight.path)]
        assert shapes, pattern
        assert all(len(shape) == len(axes) for shape in shapes), pattern


def test_transitions_by_hand() -> None:
    # Histories a a b a c and b c.
    first, second = np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 2, 2])
    transitions = Transitions.from_pairs(first, second, 4)
    assert transitions.totals.tolist() == [3, 2, 0, 0]
    table = transitions.top_followers()
    assert table.shape == (4, 3, 2)
    assert table[:2, :, 0].tolist() == [[0, 1, 2], [0, 2, 0]]
    np.testing.assert_allclose(table[0, :, 1], 1 / (3 + PRIOR_COUNT))
    np.testing.assert_allclose(table[1, :, 1], [1 / (2 + PRIOR_COUNT), 1 / (2 + PRIOR_COUNT), 0])
    assert not table[2:].any()


def test_scores_match_the_loss_with_transitions(
    data: DatasetSplits, preprocessing: Preprocessing
) -> None:
    model = build_model("sasrec_transitions", preprocessing, "--model.dropout", "0")
    loss_layer = model.get_layer("next_item_loss")
    few = data.test.fetch(np.arange(20))
    given = preprocessing.finish(preprocessing.prepare(few))
    loss = np.asarray(model(given, training=False))
    scores = artifact.Artifact(
        build_scorer(
            loss_layer.network, preprocessing.transitions.top_followers(), loss_layer.gate
        ),
        preprocessing,
        task,
    )(few)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-4)
    index = preprocessing.catalogue_indices(
        np.array([first for first, *_ in data.test.targets[:20]], dtype=object)
    )
    known = index >= 0
    expected = -scores[np.arange(20), index]
    np.testing.assert_allclose(loss[known, 0], expected[known], rtol=1e-3)
    # In training, a target does not count its own occurrence.
    training_loss = np.asarray(model(given, training=True))
    counts, weights = given["transition_counts"].numpy(), given["weights"].numpy()
    counted = ((counts > 0) & (weights > 0)).any(axis=1)
    assert counted.sum() > 5
    assert (training_loss[counted, 0] > loss[counted, 0]).all()


def test_transition_counts(data: DatasetSplits, preprocessing: Preprocessing) -> None:
    prepared = preprocessing.prepare(data.train.fetch(np.arange(30))).numpy()
    log = data.train.interactions
    index = preprocessing.catalogue_indices(log.item_ids)[log.items]  # (interactions,)
    pairs = Counter(
        (index[position - 1], index[position])
        for position in data.train.target_positions
        if position and log.users[position - 1] == log.users[position]
    )
    for row in prepared:
        items = row[1:, 0]
        for before, (item, weight, count, total) in zip(items, row[2:], strict=False):
            if weight:
                first = before - FIRST_ITEM
                assert count == pairs[first, item - FIRST_ITEM]
                assert total == sum(n for pair, n in pairs.items() if pair[0] == first)


@pytest.mark.parametrize("name", MODELS)
def test_cold_start_items_are_embedded_by_features(name: str, preprocessing: Preprocessing) -> None:
    table = preprocessing.item_table
    more = replace(
        preprocessing,
        items=(*preprocessing.items, "like the first", "like it too", "like the last"),
        item_counts=(*preprocessing.item_counts, 0, 0, 0),
        item_table=np.concatenate([table, table[:1], table[:1], table[-1:]]),
    )
    vectors = np.asarray(get_network(build_model(name, more)).embed_items())
    np.testing.assert_array_equal(vectors[-3], vectors[-2])
    assert np.abs(vectors[-1] - vectors[-2]).max() > 0.01
    assert np.abs(vectors[0] - vectors[-2]).max() > 0.01, (
        "warm items have an embedding of their own"
    )


def test_baselines_of_a_large_catalogue_are_scored_in_batches() -> None:
    items = 400_000
    preprocessing = SimpleNamespace(
        items=range(items), exclude_seen=True, catalogue_indices=lambda ids: ids.astype(int)
    )
    ids = np.arange(items).astype(str).astype(object)
    users = np.arange(64)
    log = sort_interactions(
        users, users * 3, users, np.ones(64), users.astype(str).astype(object), ids
    )
    positions = {"history_starts": users, "target_starts": users + 1, "ends": users + 1}
    split = Histories(users, users, None, interactions=log, **positions)
    shapes = []

    def popularity(matrix: sparse.csr_matrix) -> np.ndarray:
        shapes.append(matrix.shape)
        return np.tile(np.arange(items, dtype=float), (matrix.shape[0], 1))

    tracemalloc.start()
    outputs = linear.recommend(split, preprocessing, popularity)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outputs.shape == (64, ranking.MAX_RECOMMENDATIONS, 2)
    assert (outputs[:, 0, 0] == items - 1).all()
    assert sum(rows for rows, _ in shapes) == 64
    # All at once they would be 205 MB, and as much again for each copy.
    assert max(rows * columns for rows, columns in shapes) <= ranking.SCORES_AT_ONCE
    assert peak < 200e6


def test_item_knn_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse.csr_matrix(np.random.default_rng(0).random((60, 40)) < 0.2, dtype=float)
    whole = linear.fit_item_knn(matrix, k=5)
    counts = np.sqrt(matrix.toarray().sum(axis=0))
    cosines = (matrix.T @ matrix).toarray() / (np.outer(counts, counts) + 10)
    np.fill_diagonal(cosines, 0)
    few = np.sort(cosines, axis=1)[:, -5, None]
    np.testing.assert_allclose(whole.toarray(), np.where(cosines >= few, cosines, 0))
    parts, nearest = [], linear._fit_item_knn_rows
    monkeypatch.setattr(linear, "_fit_item_knn_rows", lambda *a: parts.append(a[2]) or nearest(*a))
    monkeypatch.setattr(linear, "PAIRS_AT_ONCE", 200)
    np.testing.assert_allclose(linear.fit_item_knn(matrix, k=5).toarray(), whole.toarray())
    assert len(parts) > 5


def test_ease_by_hand() -> None:
    matrix = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]], float))
    weights = linear.fit_ease(matrix, ridge=1.0)
    assert np.diag(weights).tolist() == [0, 0, 0]
    # Each column is the ridge regression of an item on the others.
    for item in range(3):
        others = [i for i in range(3) if i != item]
        x, y = matrix.toarray()[:, others], matrix.toarray()[:, item]
        solved = np.linalg.solve(x.T @ x + np.eye(2), x.T @ y)
        np.testing.assert_allclose(weights[others, item], solved, rtol=1e-5)
