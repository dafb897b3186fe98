"""Gradient checkpointing: what a layer computes is computed again where gradients need it.

Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016. Of each layer only the inputs are
kept. Layers of functional models inside the network are taken by themselves; any other layer, such
as a transformer block, is one unit, whatever is inside of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

State = list[tuple[keras.Variable, Any]]


@contextlib.contextmanager
def recompute_layers(network: keras.Model, enabled: bool = True) -> Iterator[None]:
    """Return a context in which the layers of a network are recomputed for gradients.

    Args:
        network: to be trained inside the context.
        enabled: do nothing otherwise.
    """
    layers = list(_find_units(network)) if enabled else []
    for layer in layers:
        object.__setattr__(layer, "call", _Recomputed(layer, layer.call))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _find_units(layer: Any) -> Iterator[keras.layers.Layer]:
    if isinstance(layer, keras.Model):
        for inner in {id(part): part for part in layer.layers}.values():
            yield from _find_units(inner)
        return
    # Embeddings and what has no weights keep little but their inputs.
    is_cheap = not layer.variables or isinstance(layer, keras.layers.Embedding)
    # A penalty of outputs would be added by both computations.
    if not is_cheap and getattr(layer, "activity_regularizer", None) is None:
        yield layer


class _Recomputed:
    """The ``call`` of a layer, recomputed for gradients.

    What the layer changes, such as seeds and moving averages, becomes part of its results: the
    second computation starts from the same state and changes nothing.
    """

    def __init__(self, layer: keras.layers.Layer, call: Callable) -> None:
        self.layer, self.own_call, self.is_inside = layer, call, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = keras.tree.flatten((args, kwargs))
        tensors = [value for value in values if _is_differentiable(value)]
        is_masked = any(getattr(value, "_keras_mask", None) is not None for value in tensors)
        if self.is_inside or is_masked or not tensors:
            return self.own_call(*args, **kwargs)
        state = _read_state(self.layer)
        changed: list[keras.Variable] = []
        calls: list[int] = []

        def compute(*given: Any) -> tuple[Any, list[Any], list[Any]]:
            rest = iter(given)
            filled = [next(rest) if _is_differentiable(value) else value for value in values]
            own_args, own_kwargs = keras.tree.pack_sequence_as((args, kwargs), filled)
            if calls:  # again, outside of the network's own call, which says that it trains
                own_kwargs = {**own_kwargs, "training": True}
            calls.append(1)
            outputs, updates, losses = self._call_layer(state, own_args, own_kwargs)
            changed[:] = [variable for variable, _ in updates]
            return outputs, [value for _, value in updates], losses

        outputs, news, losses = keras.remat(compute)(*tensors)
        for variable, value in zip(changed, news, strict=True):
            variable.assign(value)
        for loss in losses:
            self.layer.add_loss(loss)
        return outputs

    def _call_layer(self, state: State, args: Any, kwargs: Any) -> tuple[Any, State, list[Any]]:
        """Return outputs, updated variables with their new values, and penalties."""
        self.is_inside = True
        try:
            with keras.StatelessScope(state, collect_losses=True) as scope:
                before = {id(v): scope.get_current_value(v) for v in self.layer.variables}
                # The layer as a whole: calling it sets the type that its weights are read in.
                outputs = self.layer(*args, **kwargs)
        finally:
            self.is_inside = False
        after = [(v, scope.get_current_value(v)) for v in self.layer.variables]
        return outputs, [(v, x) for v, x in after if x is not before[id(v)]], list(scope.losses)


def _is_differentiable(value: Any) -> bool:
    """Return whether a value is a tensor that has a gradient; a mask, for example, has none."""
    return keras.ops.is_tensor(value) and "float" in keras.backend.standardize_dtype(value.dtype)


def _read_state(layer: keras.layers.Layer) -> State:
    """Return the values that variables of a layer have in the scope of the step."""
    with keras.StatelessScope() as inner:
        outer = inner.original_scope
    if outer is None:
        return []
    variables = layer.variables
    if keras.backend.backend() == "tensorflow":  # its gradients are those of variables themselves
        variables = layer.non_trainable_variables
    values = [(variable, outer.get_current_value(variable)) for variable in variables]
    return [(variable, value) for variable, value in values if value is not None]
