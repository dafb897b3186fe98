"""Explanations of models whose true answer is known."""

import json
import threading
from typing import Any

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine import explanations
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.explanations import (
    TOLERANCE,
    Contributions,
    Heatmap,
    Part,
    Probe,
    class_weights,
    delete_parts,
    enlarge,
    find_feature_map,
    get_probe,
    grad_cam,
    integrate_gradients,
    shapley_values,
    shrink,
)
from {{ cookiecutter.package_name }}.engine.interfaces import Task

RANDOM = np.random.default_rng(0)


def linear() -> tuple[keras.Model, np.ndarray]:
    """Return a linear network of three outputs for five numbers, and its kernel (5, 3)."""
    network = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    kernel = RANDOM.normal(size=(5, 3)).astype("float32")
    network.layers[-1].set_weights([kernel, np.array([1, 2, 3], "float32")])
    return network, kernel


def make_curve() -> keras.Model:
    """Return a network whose gradients change a lot on the way to an example."""
    keras.utils.set_random_seed(0)
    number = keras.Input((6,))
    x = keras.layers.Dense(16, activation="tanh", kernel_initializer="he_normal")(number)
    x = keras.layers.Dense(16, activation="relu")(3 * x)
    return keras.Model(number, keras.layers.Dense(2)(x))


def test_values_of_a_linear_network_are_weight_times_input() -> None:
    network, kernel = linear()
    inputs = RANDOM.normal(size=(40, 5)).astype("float32")  # more than one chunk
    weights = np.eye(3)[np.arange(40) % 3]
    usual = RANDOM.normal(size=5)
    found = integrate_gradients(Probe(network), inputs, usual, inputs, weights)
    np.testing.assert_allclose(
        found.values, (inputs - usual) * kernel.T[np.arange(40) % 3], atol=1e-5
    )
    np.testing.assert_allclose(found.difference, found.values.sum(axis=1), atol=1e-5)
    assert (found.error == 0).all()


def test_values_add_up_to_the_difference_of_outputs() -> None:
    network = make_curve()
    inputs = (3 * RANDOM.normal(size=(30, 6))).astype("float32")
    weights = class_weights(np.arange(30) % 2, 2, exclusive=True)
    found = integrate_gradients(Probe(network), inputs, np.zeros(6), inputs, weights)
    outputs = np.asarray(network(np.concatenate([inputs, np.zeros((1, 6), "float32")])))
    wanted = ((outputs[:-1] - outputs[-1]) * weights).sum(axis=1)
    np.testing.assert_allclose(found.difference, wanted, atol=1e-4)
    np.testing.assert_allclose(found.values.sum(axis=1), wanted, rtol=TOLERANCE, atol=1e-3)
    assert (found.error <= TOLERANCE).all()


def test_what_is_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MAX_STEPS", 2)
    monkeypatch.setattr(explanations, "MIN_STEPS", 1)
    inputs = (5 * RANDOM.normal(size=(20, 6))).astype("float32")
    weights = class_weights(np.zeros(20, int), 2, exclusive=False)
    found = integrate_gradients(Probe(make_curve()), inputs, np.zeros(6), inputs, weights)
    missed = np.abs(found.values.sum(axis=1) - found.difference)
    np.testing.assert_allclose(found.error, missed / np.abs(found.difference), rtol=1e-6)
    assert found.error.max() > TOLERANCE
    told = Contributions(
        target="a", score=0.5, method="m", parts=(Part("x", 1.0),), difference=2.0, error=0.5
    )
    assert told.summarize() == "'x' +1.00 (adds up to within 50%)"


def deep_network() -> tuple[keras.Model, keras.layers.Layer]:
    """Return a network with another one inside, and a layer of that, which has a way around it."""
    keras.utils.set_random_seed(1)
    inner_input = keras.Input((4,))
    layer = keras.layers.Dense(4, activation="relu", name="inner")
    inner = keras.Model(inner_input, inner_input + layer(inner_input), name="inside")
    outer_input = keras.Input((4,))
    return keras.Model(outer_input, keras.layers.Dense(2)(inner(outer_input))), layer


def test_a_layer_deep_inside_is_read_and_replaced() -> None:
    network, layer = deep_network()
    inputs = RANDOM.normal(size=(3, 4)).astype("float32")
    probe = Probe(network, layer)
    values = probe.read(inputs)
    np.testing.assert_allclose(values, np.asarray(layer(inputs)), atol=1e-6)
    weights = np.tile([1.0, 0.0], (3, 1))
    gradients, sums = probe.gradients(values, inputs, weights)
    np.testing.assert_allclose(sums, np.asarray(network(inputs))[:, 0], atol=1e-5)
    kernel = np.asarray(network.layers[-1].kernel)[:, 0]
    np.testing.assert_allclose(gradients, np.tile(kernel, (3, 1)), atol=1e-6)
    assert "call" not in vars(layer) or layer.call.__name__ == "call", "the layer is as it was"


def test_another_thread_sees_the_network_as_it_is() -> None:
    network, layer = deep_network()
    inputs = RANDOM.normal(size=(3, 4)).astype("float32")
    wanted, found = np.asarray(network(inputs)), []
    with explanations._change_output(layer, lambda output: 0 * output):
        changed = np.asarray(network(inputs))
        thread = threading.Thread(target=lambda: found.append(np.asarray(network(inputs))))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], wanted)
    assert not np.allclose(changed, wanted)


def test_weights_that_change_later_count() -> None:
    network, kernel = linear()
    probe, inputs = Probe(network), np.ones((1, 5), "float32")
    for factor in (1.0, 2.0):
        network.layers[-1].kernel.assign(factor * kernel)
        gradients, _ = probe.gradients(inputs, inputs, np.array([[1.0, 0.0, 0.0]]))
        np.testing.assert_allclose(gradients[0], factor * kernel[:, 0], rtol=1e-6)


def make_patch_detector(size: int = 16) -> keras.Model:
    """Return a network whose first class is a bright patch anywhere, its second a dark one."""
    image = keras.Input((size, size, 1))
    x = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name="find")(image)
    x = keras.layers.AveragePooling2D(2, name="pool")(x)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    kernel = np.stack([np.ones((3, 3, 1)), -np.ones((3, 3, 1))], axis=-1)
    network.get_layer("find").set_weights([kernel, np.zeros(2)])
    return network


def test_a_heatmap_lies_on_the_planted_patch() -> None:
    network = make_patch_detector()
    images = np.zeros((2, 16, 16, 1), "float32")
    images[0, 2:6, 10:14], images[1, 2:6, 10:14] = 1, -1
    images[0, 10:14, 2:6], images[1, 10:14, 2:6] = -1, 1
    layer = find_feature_map(network)
    assert layer is network.get_layer("pool")
    weights = class_weights(np.array([0, 1]), 2, exclusive=True)
    grids = grad_cam(Probe(network, layer), images, weights)
    assert grids.shape == (2, 8, 8)
    assert grids.max() == 1
    for grid in grids:
        assert grid[0:4, 4:8].sum() > 0.99 * grid.sum()


def test_feature_maps_are_those_of_convolutions() -> None:
    image = keras.Input((16, 16, 3))
    dense = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(2 * image)))
    assert find_feature_map(dense) is None
    x = keras.layers.Conv2D(2, 3, padding="same", name="large")(image)
    x = keras.layers.Conv2D(2, 3, strides=8, name="small")(x)
    network = keras.Model(image, keras.layers.Flatten()(x))
    assert find_feature_map(network) is network.get_layer("large"), "2 by 2 places hardly say where"
    inside = keras.Model(image, keras.layers.Flatten()(network.get_layer("large")(image)))
    outer_image = keras.Input((16, 16, 3))
    outer = keras.Model(outer_image, keras.layers.Dense(1)(inside(outer_image)))
    assert find_feature_map(outer) is network.get_layer("large")


@pytest.mark.parametrize("players", [1, 2, 5, 20, 150])
def test_shapley_values_of_an_additive_output_are_its_terms(players: int) -> None:
    terms = RANDOM.normal(size=(players, 2))
    found = shapley_values(lambda kept: 3 + kept @ terms, players)
    np.testing.assert_allclose(found, terms, atol=1e-8)


def test_shapley_values_are_exact_and_share_what_parts_do_together() -> None:
    def both_or_third(kept: np.ndarray) -> np.ndarray:
        return (6.0 * (kept[:, 0] & kept[:, 1]) + 1.0 * kept[:, 2])[:, None]

    np.testing.assert_allclose(shapley_values(both_or_third, 4)[:, 0], [3, 3, 1, 0], atol=1e-9)


def test_estimated_shapley_values_add_up_and_are_near() -> None:
    players = 30
    terms = RANDOM.normal(size=players)

    def output(kept: np.ndarray) -> np.ndarray:
        return (kept @ terms + 4 * (kept[:, 3] & kept[:, 7]))[:, None]

    found = shapley_values(output, players)[:, 0]
    ends = output(np.repeat([[False], [True]], players, axis=1))[:, 0]
    np.testing.assert_allclose(found.sum(), ends[1] - ends[0], atol=1e-9)
    wanted = terms.copy()
    wanted[[3, 7]] += 2
    np.testing.assert_allclose(found, wanted, atol=0.5)
    np.testing.assert_array_equal(found, shapley_values(output, players)[:, 0])


def test_no_part_has_no_value() -> None:
    assert shapley_values(lambda kept: np.ones((len(kept), 3)), 0).shape == (0, 3)


def test_deleting_what_is_named_changes_most() -> None:
    terms = np.array([5.0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    named, others = delete_parts(lambda kept: kept @ terms, terms)
    assert named == 6
    assert 0 < others < 3


def test_class_weights() -> None:
    np.testing.assert_allclose(class_weights(np.array([1]), 2, True), [[-0.5, 0.5]])
    np.testing.assert_allclose(class_weights(np.array([1]), 2, False), [[0, 1]])
    np.testing.assert_allclose(class_weights(np.array([0]), 1, True), [[1]])


def make_heatmap(grid: Any, channels: int = 1) -> Heatmap:
    pixels = RANDOM.integers(0, 256, (8, 6, channels)).astype("uint8")
    return Heatmap(
        target="<b>", score=0.5, method="m", grid=np.array(grid, "float32"), pixels=pixels
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_heatmap_is_drawn_over_its_image(channels: int) -> None:
    heatmap = make_heatmap([[0, 0], [0, 1]], channels)
    picture = heatmap.draw(side=100)
    assert picture.shape == (104, 78, 3)
    assert picture.dtype == "uint8"
    grey = enlarge(heatmap.pixels, 100).mean(axis=-1)
    np.testing.assert_allclose(picture[:20, :15, 0], grey[:20, :15], atol=1)
    assert (picture[-20:, -15:, 0] > picture[-20:, -15:, 2]).all(), "the hottest place is yellow"


def test_explanations_are_json() -> None:
    heatmap = make_heatmap(np.eye(100)).to_json()
    assert json.loads(json.dumps(heatmap)) == heatmap
    assert np.shape(heatmap["heatmap"]) == (32, 32)
    assert heatmap["target"] == "<b>"
    assert (
        make_heatmap([[0, 1], [0, 0]]).to_json()["summary"] == "looks at the top centre most (100%)"
    )
    assert make_heatmap([[0.0]]).summarize() == "no place speaks for it"
    parts = (Part("so ", 0.0), Part("good", 2.0), Part(" bad", -3.0))
    told = Contributions(target="a", score=0.5, method="m", parts=parts, difference=-1.0)
    assert told.to_json() == {
        "kind": "parts",
        "target": "a",
        "score": 0.5,
        "method": "m",
        "summary": "'bad' -3.00, 'good' +2.00",
        "parts": [{"text": p.text, "value": p.value} for p in parts],
        "difference": -1.0,
        "error": 0.0,
    }


def test_shrinking_keeps_the_mean() -> None:
    grid = RANDOM.random((64, 7))
    small = shrink(grid, 16)
    assert small.shape == (16, 7)
    np.testing.assert_allclose(small.mean(), grid.mean())


def test_a_probe_is_compiled_once(tiny_task: Task) -> None:
    model = Artifact(linear()[0], None, tiny_task)
    assert get_probe(model) is get_probe(model)
