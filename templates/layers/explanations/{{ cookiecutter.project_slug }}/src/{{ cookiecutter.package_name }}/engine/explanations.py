"""Why a model gave an answer, as heatmaps of images and values of parts, on both backends.

A domain's ``evaluation/explanations.py`` makes ``Explanation``s of these methods:

- ``grad_cam``: which places of a feature map speak for a class.
- ``integrate_gradients``: what each number of an input, or of an embedding, adds to an output.
- ``shapley_values``: what each part adds to an output, by leaving parts out.

The last two are complete: their values add up to the difference between the output and that of an
example without anything remarkable. ``delete_parts`` measures whether what they name matters.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from .artifact import Artifact

# Points of the way from baseline to example; doubled until values add up to the difference.
MIN_STEPS, MAX_STEPS = 16, 1024
TOLERANCE = 0.01  # of the difference that the values may miss
# Differences below it, in the output's unit, are noise of float32: none of a logit's meaning.
NEGLIGIBLE = 1e-3
# Rows of the network at a time: as many as have so many numbers, within bounds. The activations
# that gradients need take a multiple of their memory.
NUMBERS, MIN_ROWS, MAX_ROWS = 2**20, 32, 1024
MAX_COALITIONS = 256  # sets of parts that are left out
JSON_GRID = 32  # rows and columns of a heatmap in JSON at most
SHOWN_PARTS = 3  # in a line of the table
SHARE = 0.2  # of the parts that are deleted
DRAWS = 20  # random deletions that are averaged
CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)


# === What an explanation is ===


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a model scored a class or an item as it did.

    Attributes:
        target: name of the class or item.
        score: of the target, as ``predict`` shows it.
        method: how the explanation was made, and what its values mean.
        note: why there is nothing to show, such as that a model reads no history; '' otherwise.
        error: share of what they should add up to that the values miss; above ``TOLERANCE`` they
            are rough. 0 where there is nothing to add up.
    """

    target: str
    score: float
    method: str
    note: str = ""
    error: float = 0.0

    kind: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        names = ("kind", "target", "score", "method", "note", "error")
        content = {name: getattr(self, name) for name in names if getattr(self, name) != ""}
        return content | {"summary": self.summarize()}

    def summarize(self) -> str:
        """Return what matters most, in a few words."""
        rough = f" (adds up to within {self.error:.0%})" if self.error > TOLERANCE else ""
        return self.note or f"{self._name_strongest()}{rough}"

    def _name_strongest(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Heatmap(Explanation):
    """Where an image speaks for the target.

    Attributes:
        grid: (rows, columns) float32 in [0, 1], spread over the whole image.
        pixels: (height, width, channels) uint8 the image as the model sees it.
    """

    grid: np.ndarray
    pixels: np.ndarray

    kind: ClassVar[str] = "heatmap"

    def draw(self, side: int = 128) -> np.ndarray:
        """Draw the heatmap over the image.

        Args:
            side: pixels that the longer side has at least; each pixel becomes a square.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        from matplotlib import colormaps

        image = enlarge(self.pixels, side).astype("float32") / 255
        grey = np.broadcast_to(image.mean(axis=-1, keepdims=True), (*image.shape[:2], 3))
        heat = _stretch(self.grid, image.shape[:2])[..., None]
        colors = colormaps["inferno"](heat[..., 0])[..., :3]
        return np.rint(255 * (grey * (1 - 0.7 * heat) + colors * 0.7 * heat)).astype("uint8")

    def to_json(self) -> dict[str, Any]:
        grid = shrink(self.grid, JSON_GRID)
        return super().to_json() | {"heatmap": grid.round(3).astype("float64").tolist()}

    def _name_strongest(self) -> str:
        if not self.grid.any():
            return "no place speaks for it"
        thirds = [np.array_split(np.arange(size), 3) for size in self.grid.shape]
        mass = [
            [self.grid[np.ix_(rows, columns)].sum() for columns in thirds[1]] for rows in thirds[0]
        ]
        shares = np.array(mass) / self.grid.sum()
        row, column = np.unravel_index(shares.argmax(), shares.shape)
        names = (("top", "middle", "bottom")[row], ("left", "centre", "right")[column])
        return f"looks at the {' '.join(names)} most ({shares.max():.0%})"


@dataclass(frozen=True)
class Part:
    """A part of an example and what it adds to the output.

    Attributes:
        text: a token as written, a column with its value, or an item.
        value: positive where it speaks for the target.
    """

    text: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Contributions(Explanation):
    """What each part of an example adds to the output.

    Attributes:
        parts: in the order of the example.
        difference: of the output to that without anything remarkable: what the values add up to.
        separator: between the parts where they are shown in a row; '' where they hold their spaces.
    """

    parts: tuple[Part, ...]
    difference: float
    separator: str = ""

    kind: ClassVar[str] = "parts"

    def to_json(self) -> dict[str, Any]:
        parts = [{"text": part.text, "value": part.value} for part in self.parts]
        return super().to_json() | {"parts": parts, "difference": self.difference}

    def strongest(self, most: int = SHOWN_PARTS) -> list[Part]:
        """Return the parts that matter most, in whichever direction, the strongest first."""
        effective = [part for part in self.parts if part.value]
        return sorted(effective, key=lambda part: -abs(part.value))[:most]

    def _name_strongest(self) -> str:
        shown = [f"{part.text.strip()!r} {part.value:+.2f}" for part in self.strongest()]
        return ", ".join(shown) or "no part matters"


# === A network from one of its layers on ===


@dataclass(frozen=True, eq=False)
class Probe:
    """Outputs of a network as a function of what one of its layers returns.

    Attributes:
        network: from inputs (batch, …) to outputs (batch, size).
        layer: called once by the network, however deep inside; None: the network's only input.
    """

    network: keras.Model
    layer: keras.layers.Layer | None = None

    def read(self, inputs: Any) -> np.ndarray:
        """Return the layer's outputs (batch, …) float32 for inputs (batch, …)."""
        if self.layer is None:
            return np.asarray(inputs, "float32")
        return _in_chunks(self._read, (inputs,))[0]

    def outputs(self, inputs: Any) -> np.ndarray:
        """Return the network's outputs (batch, size) float32 for inputs (batch, …)."""
        return _in_chunks(self._outputs, (inputs,))[0]

    def gradients(
        self, values: np.ndarray, inputs: Any, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Differentiate a weighted sum of each row's outputs by what the layer returns.

        Args:
            values: (batch, …) in the place of the layer's outputs.
            inputs: (batch, …) of the network, for what does not go through the layer.
            weights: (batch, size) of the outputs.

        Returns:
            Gradients (batch, …) and weighted sums (batch,).
        """
        values = values.astype("float32")
        inputs = values if self.layer is None else inputs
        arguments = (values, inputs, weights.astype("float32"))
        gradients, sums = _in_chunks(self._gradients, arguments)
        return gradients, sums

    def _run(self, inputs: Any) -> Any:
        return ops.cast(self.network(inputs, training=False), "float32")

    def _run_from(self, values: Any, inputs: Any) -> Any:
        if self.layer is None:
            return self._run(values)
        with _change_output(self.layer, lambda output: ops.cast(values, output.dtype)):
            return self._run(inputs)

    @cached_property
    def _outputs(self) -> Callable[..., Any]:
        return self._compile(lambda inputs: (self._run(inputs),))

    @cached_property
    def _read(self) -> Callable[..., Any]:
        assert self.layer is not None, "an input is read as it is"
        layer = self.layer

        def read(inputs: Any) -> tuple[Any]:
            outputs: list[Any] = []

            def keep(output: Any) -> Any:
                outputs.append(ops.cast(output, "float32"))
                return output

            with _change_output(layer, keep):
                self._run(inputs)
            return (outputs[-1],)

        return self._compile(read)

    @cached_property
    def _gradients(self) -> Callable[..., Any]:
        def weigh_outputs(values: Any, inputs: Any, weights: Any) -> Any:
            return ops.sum(self._run_from(values, inputs) * weights, axis=-1)

        if keras.backend.backend() == "jax":
            import jax

            def total(values: Any, inputs: Any, weights: Any) -> tuple[Any, Any]:
                sums = weigh_outputs(values, inputs, weights)
                return sums.sum(), sums

            differentiate = jax.grad(total, has_aux=True)
            return self._compile(lambda *arguments: differentiate(*arguments))
        import tensorflow as tf

        def gradients(values: Any, inputs: Any, weights: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(values)
                sums = weigh_outputs(values, inputs, weights)
            # Zeros: a branch that a blend has switched off has no gradient.
            return tape.gradient(sums, values, unconnected_gradients="zero"), sums

        return self._compile(gradients)

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function of arrays that runs the network."""
        if keras.backend.backend() != "jax":
            import tensorflow as tf

            return tf.function(function, reduce_retracing=True)
        import jax

        variables = self.network.variables

        # As arguments: constants would be compiled, and folded, with the program.
        @jax.jit
        def run(state: list[Any], arguments: tuple[Any, ...]) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, state, strict=True))):
                return function(*arguments)

        return lambda *arguments: run([variable.value for variable in variables], arguments)


def get_probe(model: "Artifact", layer: keras.layers.Layer | None = None) -> Probe:
    """Return a model's network as a function of what one of its layers returns, compiled once.

    Args:
        model: the trained model.
        layer: see ``Probe``.
    """
    probe: Probe = model.memo.setdefault(("probe", layer), Probe(model.network, layer))
    return probe


def _in_chunks(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[np.ndarray]:
    """Call a function with some rows of its arguments at a time, and join what it returns."""
    first = np.asarray(keras.tree.flatten(arguments)[0])
    size, most = len(first), _rows_at_once(first)
    parts = []
    for start in range(0, size, most):
        count = min(most, size - start)
        # Few different sizes, as each compiles the network anew; the last row fills them up.
        rows = np.arange(start, start + 2 ** math.ceil(math.log2(count))).clip(max=size - 1)
        chunk = keras.tree.map_structure(ops.convert_to_tensor, _take(arguments, rows))
        found = function(*chunk)
        parts.append([ops.convert_to_numpy(part)[:count] for part in found])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _rows_at_once(values: np.ndarray) -> int:
    """Return how many rows of values (batch, …) the network takes at a time, a power of two."""
    numbers = max(1, math.prod(values.shape[1:]))
    return 2 ** int(math.log2(min(max(NUMBERS // numbers, MIN_ROWS), MAX_ROWS)))


def _take(arrays: Any, rows: np.ndarray) -> Any:
    """Return these rows of each array of a structure."""
    return keras.tree.map_structure(lambda array: np.asarray(array)[rows], arrays)


_lock = threading.RLock()  # of the layers whose output is changed


@contextmanager
def _change_output(layer: keras.layers.Layer, change: Callable[[Any], Any]) -> Iterator[None]:
    """Change what a layer returns in this thread, whichever network calls it.

    A network whose graph is cut at the layer would do the same, but can be had neither of networks
    inside networks nor of residual connections around the layer.
    """
    call = layer.call
    thread = threading.get_ident()

    def call_and_change(*arguments: Any, **options: Any) -> Any:
        output = call(*arguments, **options)
        return change(output) if threading.get_ident() == thread else output

    with _lock:
        layer.call = call_and_change
        try:
            yield
        finally:
            layer.call = call


# === Methods ===


@dataclass(frozen=True)
class Attributions:
    """What each number of an example adds to an output.

    Attributes:
        values: (batch, …) float64.
        difference: (batch,) of the output to that of the baseline.
        error: (batch,) share of the difference that the values miss.
    """

    values: np.ndarray
    difference: np.ndarray
    error: np.ndarray


def integrate_gradients(
    probe: Probe, values: np.ndarray, baseline: np.ndarray, inputs: Any, weights: np.ndarray
) -> Attributions:
    """Integrate gradients from a baseline to examples: Sundararajan, Taly & Yan, ICML 2017.

    The points of the way are doubled until the values add up to the difference, up to
    ``TOLERANCE`` of it or ``MAX_STEPS`` points.

    Args:
        probe: what is differentiated.
        values: (batch, …) outputs of the probe's layer for the examples.
        baseline: (batch, …) or what broadcasts to it: the same without anything remarkable.
        inputs: (batch, …) of the network.
        weights: (batch, size) of the outputs, see ``class_weights``.
    """
    values = values.astype("float32")
    baseline = np.broadcast_to(baseline, values.shape).astype("float32")
    ends = (probe.gradients(end, inputs, weights)[1] for end in (baseline, values))
    start, end = (sums.astype("float64") for sums in ends)
    difference = end - start
    found = np.zeros(values.shape)
    missed = np.abs(difference)
    rows, steps = np.arange(len(values)), MIN_STEPS
    while len(rows) and steps <= MAX_STEPS:
        found[rows] = _integrate(probe, values, baseline, inputs, weights, rows, steps)
        sums = found[rows].reshape(len(rows), -1).sum(axis=1)
        missed[rows] = np.abs(sums - difference[rows])
        allowed = np.maximum(TOLERANCE * np.abs(difference), NEGLIGIBLE)
        rows, steps = rows[missed[rows] > allowed[rows]], 2 * steps
    error = np.where(missed > NEGLIGIBLE, missed / np.maximum(np.abs(difference), NEGLIGIBLE), 0.0)
    return Attributions(found, difference, error)


def _integrate(
    probe: Probe,
    values: np.ndarray,
    baseline: np.ndarray,
    inputs: Any,
    weights: np.ndarray,
    rows: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Return the integrals (rows, …) of some rows, from so many points each."""
    change = values[rows] - baseline[rows]
    total = np.zeros(change.shape)
    shape = (-1, *[1] * (values.ndim - 1))
    pairs, most = steps * len(rows), _rows_at_once(values)  # of a row and a point
    for start in range(0, pairs, most):
        pair = np.arange(start, min(start + most, pairs))
        own, at = pair // steps, rows[pair // steps]
        share = ((pair % steps + 0.5) / steps).astype("float32").reshape(shape)  # midpoints
        points = baseline[at] + share * change[own]
        gradients, _ = probe.gradients(points, _take(inputs, at), weights[at])
        np.add.at(total, own, gradients)
    return change * total / steps


def grad_cam(probe: Probe, inputs: Any, weights: np.ndarray) -> np.ndarray:
    """Map where a feature map speaks for a class: Selvaraju et al., ICCV 2017.

    Each place has its own gradients rather than their mean over all places (Draelos & Carin,
    HiResCAM, arXiv:2011.08891). Below global pooling and a linear head, both are the same.
    Elsewhere the mean names places that matter less: deleting a fifth of a digit takes 3.4 logits
    by the mean, 5.2 by place, 2.8 at random.

    Args:
        probe: at a layer with a feature map (batch, rows, columns, channels).
        inputs: (batch, …) of the network.
        weights: (batch, size) of the outputs, see ``class_weights``.

    Returns:
        (batch, rows, columns) float32 in [0, 1]; zeros where no place speaks for the class.
    """
    maps = probe.read(inputs)
    gradients, _ = probe.gradients(maps, inputs, weights)
    return scale_to_one((maps * gradients).sum(axis=-1))


def scale_to_one(grids: np.ndarray) -> np.ndarray:
    """Set what is negative in grids (batch, rows, columns) to 0, and the largest of each to 1."""
    positive = np.maximum(grids, 0).astype("float32")
    largest = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, largest, out=np.zeros_like(positive), where=largest > 0)


def find_feature_map(network: keras.Model, smallest: int = 4) -> keras.layers.Layer | None:
    """Return the last layer with a feature map after a convolution, networks inside included.

    Args:
        network: maps images (batch, height, width, channels).
        smallest: rows and columns of the map: a smaller one hardly says where. Where there is
            none, the largest of the smaller maps is taken.

    Returns:
        None without a convolution.
    """
    found, after = [], False
    for layer in _leaf_layers(network):
        after = after or isinstance(layer, CONVOLUTIONS)
        shape = getattr(getattr(layer, "output", None), "shape", ())
        if after and len(shape) == 4 and None not in shape[1:3]:
            found.append((min(smallest, *shape[1:3]), layer))
    largest = max((side for side, _ in found), default=0)
    return next((layer for side, layer in reversed(found) if side == largest), None)


def find_embedding(network: keras.Model) -> keras.layers.Embedding | None:
    """Return the layer that embeds tokens: the one with most entries, however deep inside."""
    layers = network._flatten_layers(include_self=False, recursive=True)
    embeddings = [layer for layer in layers if isinstance(layer, keras.layers.Embedding)]
    return max(embeddings, key=lambda layer: layer.input_dim, default=None)


def _leaf_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def class_weights(targets: np.ndarray, size: int, exclusive: bool) -> np.ndarray:
    """Return the weights of logits that make up what is explained.

    Of classes that exclude each other, that is the logit minus the mean of all logits: a number
    that is added to all of them changes no probability.

    Args:
        targets: (batch,) indices of classes.
        size: number of classes.
        exclusive: whether an example has one class only.

    Returns:
        (batch, size) float32.
    """
    weights = np.eye(size, dtype="float32")[targets]
    return weights - np.float32(1 / size) if exclusive and size > 1 else weights


def shapley_values(
    value: Callable[[np.ndarray], np.ndarray], players: int, seed: int = 0
) -> np.ndarray:
    """Share out what all parts together add to outputs, by leaving parts out.

    Exact for up to eight parts. Beyond, Shapley values are estimated from ``MAX_COALITIONS`` sets:
    those of one part, those that lack one part, and random ones with their complements (Lundberg &
    Lee, NeurIPS 2017; Covert & Lee, AISTATS 2021). The values of an output always add up to the
    difference between all parts and none.

    Args:
        value: which parts are there (sets, players) bool -> outputs (sets, outputs).
        players: number of parts.
        seed: of the random sets.

    Returns:
        (players, outputs) float64.
    """
    sets, weights = _coalitions(players, np.random.default_rng(seed))
    ends = np.repeat([[False], [True]], players, axis=1)  # no part, and all parts
    outputs = np.asarray(value(np.concatenate([ends, sets])), "float64")
    none, everything = outputs[:2]
    if players < 2:
        return np.repeat((everything - none)[None], players, axis=0)
    # The last part has what the others leave, so that the sum holds exactly.
    last = sets[:, -1:].astype("float64")
    design = sets[:, :-1] - last
    wanted = outputs[2:] - none - last * (everything - none)
    scale = np.sqrt(weights)[:, None]
    shares = np.linalg.lstsq(design * scale, wanted * scale, rcond=None)[0]
    return np.concatenate([shares, (everything - none - shares.sum(axis=0))[None]])


def _coalitions(players: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return sets (sets, players) bool of some parts, neither none nor all, and their weights."""
    if players < 2:
        return np.zeros((0, players), bool), np.zeros(0)
    sizes = np.arange(1, players)
    by_size = (players - 1) / (sizes * (players - sizes))  # Shapley kernel of all sets of a size
    if 2**players <= MAX_COALITIONS:
        sets = np.array(list(product([False, True], repeat=players)))[1:-1]
        count = np.array([math.comb(players, size) for size in sizes])
        return sets, (by_size / count)[sets.sum(axis=1) - 1]
    single = np.eye(players, dtype=bool)
    drawn = max(8, (MAX_COALITIONS - 2 * players) // 2)
    inner = by_size[1:-1] / by_size[1:-1].sum()
    lengths = random.choice(sizes[1:-1], size=drawn, p=inner)
    order = random.random((drawn, players)).argsort(axis=1).argsort(axis=1)
    some = order < lengths[:, None]
    sets = np.concatenate([single, ~single, some, ~some])
    outer = np.full(2 * players, by_size[0] / players)
    return sets, np.concatenate([outer, np.full(2 * drawn, by_size[1:-1].sum() / (2 * drawn))])


# === Checks ===


def delete_parts(
    output: Callable[[np.ndarray], np.ndarray], values: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """Measure by how much an output falls without the parts that are named first.

    Args:
        output: which parts are kept (rows, parts) bool -> outputs (rows,) of one example.
        values: (parts,) what each part adds to the output.
        seed: of the parts that are deleted at random.

    Returns:
        The fall without the ``SHARE`` of the parts with the highest values, and the mean fall
        without as many random ones.
    """
    size = len(values)
    count = max(1, round(SHARE * size))
    random = np.random.default_rng(seed)
    kept = np.ones((2 + DRAWS, size), bool)
    kept[1, np.argsort(-values, kind="stable")[:count]] = False
    for row in kept[2:]:
        row[random.choice(size, count, replace=False)] = False
    whole, named, *others = np.asarray(output(kept), "float64")
    return float(whole - named), float(whole - np.mean(others))


# === Images ===


def enlarge(pixels: np.ndarray, side: int) -> np.ndarray:
    """Repeat pixels (height, width, channels) until the longer side has at least so many."""
    factor = max(1, math.ceil(side / max(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def shrink(grid: np.ndarray, side: int) -> np.ndarray:
    """Average a grid (rows, columns) to one of at most so many rows and columns."""
    for axis, size in enumerate(grid.shape):
        if size > side:
            starts = np.linspace(0, size, side, endpoint=False).astype(int)
            counts = np.diff([*starts, size])
            sums = np.add.reduceat(grid, starts, axis=axis)
            grid = sums / (counts[:, None] if axis == 0 else counts)
    return grid


def _stretch(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Interpolate a grid (rows, columns) to a height and width."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.image.resize(grid[..., None].astype("float32"), size).numpy()[..., 0]
