"""Decoding token by token: logits after a prompt, then after each further token.

A decoder has slots, each with a text of its own length, so that answers may begin and end at any
time (Yu et al., OSDI 2022). Networks of this project and presets keep keys and values of earlier
tokens; any other network reads the whole text again for each token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
from keras import ops

from ..networks import gpt, presets

if TYPE_CHECKING:
    from ..engine.artifact import Artifact

Tensor = Any  # of Keras' backend; Keras has no types
SHORTEST = 16  # tokens that a text is padded to at least
FEW = 4  # texts, up to which a step writes each one's keys and values by itself


class Decoder(Protocol):
    """Texts in slots.

    Attributes:
        length: most tokens of a text, the prompt's and the answer's together.
    """

    length: int

    def prefill(self, slot: int, ids: list[int]) -> np.ndarray:
        """Begin a text in a slot and return the logits (vocabulary,) after its last token."""

    def step(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Append a token to the texts of the active slots.

        Args:
            tokens: (slots,) int32; those of other slots do not count.
            active: (slots,) bool.

        Returns:
            Logits (slots, vocabulary) after them; those of other slots mean nothing.
        """

    def free(self, slot: int) -> None:
        """Forget the text of a slot."""


def make_decoder(model: Artifact, slots: int, length: int | None = None) -> Decoder:
    """Make the fastest decoder that there is for a model.

    Args:
        slots: texts at a time.
        length: most tokens of a text; None, or more than it: the model's context.
    """
    context = model.preprocessing.context
    length = context if length is None else min(length, context)
    if isinstance(model.network, presets.PresetNetwork):
        decoder: Decoder = presets.make_preset_decoder(model.network, slots, length)
        return decoder
    if gpt.find_blocks(model.network):
        return CachedDecoder(model.network, slots, length)
    return RereadingDecoder(model.network, slots, length)


class CachedDecoder:
    """Keys and values of all earlier tokens stay: the network sees one new token at a time.

    Texts are in the first rows of the cache, whatever their slots, and a step computes those alone,
    rounded up to a power of four. So one text does not cost what all slots would.

    Args:
        network: of ``networks/gpt.py``.
        slots: texts at a time.
        length: most tokens of a text.
    """

    def __init__(self, network: keras.Model, slots: int, length: int) -> None:
        self.length, self._slots = length, slots
        self._rows: dict[int, int] = {}  # slot -> row of the cache
        self._places = np.zeros(slots, np.int32)  # (rows,) tokens in the cache
        backend = keras.backend.backend()
        make_cache = JaxCache if backend == "jax" else TensorFlowCache
        self._cache = make_cache(CachedForward(network, length), slots)

    def prefill(self, slot: int, ids: list[int]) -> np.ndarray:
        return self.prefill_many([slot], [ids])[0]

    def prefill_many(self, slots: Sequence[int], texts: Sequence[list[int]]) -> np.ndarray:
        """Begin texts in several slots at once and return their logits (texts, vocabulary)."""
        for slot in slots:
            self.free(slot)
        rows = np.arange(len(self._rows), len(self._rows) + len(slots))
        tokens, counts = pad_texts(texts, self.length)
        logits = self._cache.prefill(rows, tokens, counts)
        for slot, row, count in zip(slots, rows, counts, strict=True):
            self._rows[slot], self._places[row] = int(row), count
        return logits

    def step(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        size = _round_up(max(self._rows.values(), default=0) + 1, self._slots, bits=2)
        moved = np.zeros(size, np.int32)
        for slot, row in self._rows.items():
            moved[row] = tokens[slot]
        # A row that is not active writes into a place that its next token overwrites.
        logits = self._cache.step(moved, np.minimum(self._places[:size], self.length - 1))
        answer = np.zeros((self._slots, logits.shape[-1]), np.float32)
        for slot, row in self._rows.items():
            answer[slot] = logits[row]
            self._places[row] += active[slot]
        return answer

    def free(self, slot: int) -> None:
        row, last = self._rows.pop(slot, None), len(self._rows)
        if row is None or row == last:
            return
        # The last row fills the gap.
        other = next(slot for slot, place in self._rows.items() if place == last)
        self._cache.gather(np.array([last]), np.array([row]))
        self._rows[other], self._places[row] = row, self._places[last]

    def reorder(self, sources: Sequence[int]) -> None:
        """Let each slot continue the text of another one, or its own.

        Args:
            sources: (slots,) whose text each slot takes.
        """
        rows = np.array([self._rows[source] for source in sources])
        self._cache.gather(rows, np.arange(len(rows)))
        self._places[: len(rows)] = self._places[rows]
        self._rows = {slot: slot for slot in range(len(rows))}


class CachedForward:
    """A network of ``networks/gpt.py`` as functions that read and return keys and values.

    Args:
        network: its layers are used.
        length: tokens that the cache has room for.

    Attributes:
        heads, head_dim: of a block.
        key_shape, value_shape: of what is kept of one head of a text: keys (head_dim, length),
            values (length, head_dim). A cache of a block has so many for each head of each text,
            (texts * heads, …). So XLA's programs for CPUs read them where they are; they would copy
            caches with an axis more, or turn keys that lie like values, at every step.
    """

    def __init__(self, network: keras.Model, length: int) -> None:
        self.network, self.length = network, length
        self.blocks = gpt.find_blocks(network)
        self.embedding, self.norm = network.get_layer(gpt.EMBEDDING), network.get_layer(gpt.NORM)
        self.mask = network.get_layer(gpt.MASK)
        names = {layer.name for layer in network.layers}
        self.positions = network.get_layer(gpt.POSITIONS) if gpt.POSITIONS in names else None
        self.rotary = network.get_layer(gpt.ROTARY) if gpt.ROTARY in names else None
        block = self.blocks[0]
        self.heads, self.head_dim = block.num_heads, block.head_dim
        self.key_shape, self.value_shape = (block.head_dim, length), (length, block.head_dim)
        self.dtype = block.compute_dtype

    def read(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Read prompts.

        Args:
            tokens: (texts, time) int32; what follows a text's tokens does not count.
            counts: (texts,) int32, tokens of each.

        Returns:
            Logits (texts, vocabulary) after the last tokens; of each block what its caches hold of
            them: keys (texts * heads, head_dim, time) and values (texts * heads, time, head_dim).
        """
        mask, x = self.mask(ops.ones_like(tokens)), self.embedding(tokens)
        if self.positions is not None:
            x = self.positions(x, mask)
        rotation = None if self.rotary is None else self.rotary(x)
        keys, values, time = [], [], ops.shape(tokens)[1]
        for block in self.blocks:
            query, key, value = block.project(x, rotation)
            x = block.finish(x, block.attend(query, key, value, mask))
            keys.append(ops.reshape(ops.swapaxes(key, 2, 3), (-1, self.head_dim, time)))
            values.append(ops.reshape(value, (-1, time, self.head_dim)))
        last = ops.reshape(counts - 1, (-1, 1, 1))
        x = ops.take_along_axis(x, ops.broadcast_to(last, (*ops.shape(x)[:1], 1, x.shape[-1])), 1)
        return self._score(x), keys, values

    def step(
        self, tokens: Tensor, places: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Append a token to each of the first texts.

        Args:
            tokens: (texts,) int32.
            places: (texts,) int32, earlier tokens of each.
            keys, values: caches of each block.

        Returns:
            Logits (texts, vocabulary), and the caches with the new tokens.
        """
        count = tokens.shape[0]
        x = self.embedding(ops.expand_dims(tokens, 1))  # (texts, 1, embedding_dim)
        if self.positions is not None:
            x = self.positions.add(x, ops.expand_dims(places, 1))
        rotation = None
        if self.rotary is not None:  # (2, texts, 1, 1, head_dim)
            rotation = self.rotary.at(ops.reshape(places, (-1, 1, 1)))
        visible = ops.expand_dims(ops.arange(self.length), 0) <= ops.expand_dims(places, 1)
        visible = ops.expand_dims(ops.repeat(visible, self.heads, axis=0), 1)
        first, shape = count * self.heads, (count, self.heads, 1, self.head_dim)
        new_keys, new_values = [], []
        for block, all_keys, all_values in zip(self.blocks, keys, values, strict=True):
            query, key, value = block.project(x, rotation)
            # What is changed before it is cut off would be copied whole.
            key = write_tokens(all_keys[:first], ops.swapaxes(key, 2, 3), places, axis=2)
            value = write_tokens(all_values[:first], value, places, axis=1)
            query = ops.reshape(query, (first, 1, self.head_dim))
            attended = block.attend(query, ops.swapaxes(key, 1, 2), value, visible)
            x = block.finish(x, ops.reshape(attended, shape))
            new_keys.append(ops.slice_update(all_keys, (0, 0, 0), key))
            new_values.append(ops.slice_update(all_values, (0, 0, 0), value))
        return self._score(x), new_keys, new_values

    def find_heads(self, rows: np.ndarray) -> np.ndarray:
        """Return where a cache holds the heads of texts: (rows,) -> (rows * heads,)."""
        return np.asarray((rows[:, None] * self.heads + np.arange(self.heads)).ravel())

    def _score(self, x: Tensor) -> Tensor:
        return self.embedding(self.norm(x), reverse=True)[:, 0]


class TensorFlowCache:
    """Keys and values in variables, which a step changes in place.

    Args:
        forward: the network.
        rows: texts that there is room for.
    """

    def __init__(self, forward: CachedForward, rows: int) -> None:
        import tensorflow as tf

        def make_variables(shape: tuple[int, int]) -> list[Any]:
            zeros = tf.zeros((rows * forward.heads, *shape), forward.dtype)
            return [tf.Variable(zeros, trainable=False) for _ in forward.blocks]

        self._forward = forward
        self._keys = make_variables(forward.key_shape)
        self._values = make_variables(forward.value_shape)

        def step(tokens: Tensor, places: Tensor) -> Tensor:
            keys, values = [v.value() for v in self._keys], [v.value() for v in self._values]
            logits, keys, values = forward.step(tokens, places, keys, values)
            for variable, new in zip(self._variables, [*keys, *values], strict=True):
                variable.assign(new)
            return logits

        # Compiled as one program: a step has hundreds of operations, each of which costs more to
        # start than to compute.
        self._step = tf.function(step, jit_compile=True)
        self._steps: dict[int, Callable[[Any, Any], Any]] = {}  # by texts

        def read(tokens: Tensor, counts: Tensor, first: Tensor) -> Tensor:
            logits, keys, values = forward.read(tokens, counts)
            begin, length = first * forward.heads, tf.shape(tokens)[1]
            end = begin + tf.shape(keys[0])[0]
            for variable, new in zip(self._keys, keys, strict=True):
                variable[begin:end, :, :length].assign(new)
            for variable, new in zip(self._values, values, strict=True):
                variable[begin:end, :length].assign(new)
            return logits

        # Prompts have any length: a program for each would have to be compiled.
        texts = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)
        self._read = tf.function(read, [*texts, tf.TensorSpec((), tf.int32)])

    @property
    def _variables(self) -> list[Any]:
        return [*self._keys, *self._values]

    def prefill(self, rows: np.ndarray, tokens: np.ndarray, counts: np.ndarray) -> np.ndarray:
        # The rows follow each other: each variable is written once, within the program.
        return np.asarray(self._read(tokens[:, : counts.max()], counts, np.int32(rows[0])))

    def step(self, tokens: np.ndarray, places: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        count = len(tokens)
        if count not in self._steps:
            # To look for it at each call, with arrays, takes a third of a small network's step.
            numbers = tf.TensorSpec((count,), tf.int32)
            self._steps[count] = self._step.get_concrete_function(numbers, numbers)
        return np.asarray(self._steps[count](tf.constant(tokens), tf.constant(places)))

    def gather(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Copy rows."""
        import tensorflow as tf

        sources, targets = map(self._forward.find_heads, (sources, targets))
        for variable in self._variables:
            variable.scatter_update(tf.IndexedSlices(tf.gather(variable, sources), targets))


class JaxCache:
    """Keys and values in arrays that a step is given to keep: it changes them in place.

    Args:
        forward: the network.
        rows: texts that there is room for.
    """

    def __init__(self, forward: CachedForward, rows: int) -> None:
        import jax

        def make_arrays(shape: tuple[int, int]) -> list[Any]:
            full = rows * forward.heads, *shape
            return [ops.zeros(full, forward.dtype) for _ in forward.blocks]

        self._forward, self._variables = forward, forward.network.variables
        self._keys = make_arrays(forward.key_shape)
        self._values = make_arrays(forward.value_shape)

        def step(weights: Any, keys: Any, values: Any, tokens: Any, places: Any) -> Any:
            with keras.StatelessScope(zip(self._variables, weights, strict=True)):
                return forward.step(tokens, places, keys, values)

        def read(weights: Any, keys: Any, values: Any, row: Any, tokens: Any, counts: Any) -> Any:
            with keras.StatelessScope(zip(self._variables, weights, strict=True)):
                logits, new_keys, new_values = forward.read(tokens, counts)
            place = (row * forward.heads, 0, 0)
            write = lambda cache, new: ops.slice_update(cache, place, new)  # noqa: E731
            return logits, list(map(write, keys, new_keys)), list(map(write, values, new_values))

        def gather(keys: Any, values: Any, sources: Any, targets: Any) -> Any:
            move = lambda cache: cache.at[targets].set(cache[sources])  # noqa: E731
            return list(map(move, keys)), list(map(move, values))

        self._step = jax.jit(step, donate_argnums=(1, 2))
        self._read = jax.jit(read, donate_argnums=(1, 2))
        self._gather = jax.jit(gather, donate_argnums=(0, 1))

    def prefill(self, rows: np.ndarray, tokens: np.ndarray, counts: np.ndarray) -> np.ndarray:
        # Few shapes, as each is compiled: one text at a time, its length a power of two.
        answers = []
        for row, text, count in zip(rows, tokens, counts, strict=True):
            size = _round_up(max(int(count), SHORTEST), len(text))
            logits, self._keys, self._values = self._read(
                self._weights(), self._keys, self._values, np.int32(row),
                text[None, :size], np.array([count], np.int32),
            )  # fmt: skip
            answers.append(np.asarray(logits)[0])
        return np.stack(answers)

    def step(self, tokens: np.ndarray, places: np.ndarray) -> np.ndarray:
        logits, self._keys, self._values = self._step(
            self._weights(), self._keys, self._values, tokens, places
        )
        return np.asarray(logits)

    def gather(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Copy rows."""
        sources, targets = map(self._forward.find_heads, (sources, targets))
        self._keys, self._values = self._gather(self._keys, self._values, sources, targets)

    def _weights(self) -> list[Any]:
        return [variable.value for variable in self._variables]


class RereadingDecoder:
    """The network reads the whole text for each token: slow, but any network can do it.

    Args:
        network: tokens and segments -> logits.
        slots: texts at a time.
        length: most tokens of a text.
    """

    def __init__(self, network: keras.Model, slots: int, length: int) -> None:
        self.length, self._slots = length, slots
        self._texts: dict[int, list[int]] = {}
        self._run = _compile(network)

    def prefill(self, slot: int, ids: list[int]) -> np.ndarray:
        self._texts[slot] = list(ids)
        return self._score([slot])[0]

    def step(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        slots = [slot for slot in np.flatnonzero(active).tolist() if slot in self._texts]
        for slot in slots:
            self._texts[slot].append(int(tokens[slot]))
        logits = self._score(slots)
        answer = np.zeros((self._slots, logits.shape[-1]), np.float32)
        answer[slots] = logits
        return answer

    def free(self, slot: int) -> None:
        self._texts.pop(slot, None)

    def reorder(self, sources: Sequence[int]) -> None:
        """Let each slot continue the text of another one, or its own."""
        self._texts = {slot: list(self._texts[source]) for slot, source in enumerate(sources)}

    def _score(self, slots: Sequence[int]) -> np.ndarray:
        tokens, counts = pad_texts([self._texts[slot] for slot in slots], self.length)
        logits = self._run(tokens, (np.arange(tokens.shape[1]) < counts[:, None]).astype(np.int32))
        return np.asarray(logits)[np.arange(len(slots)), counts - 1]


def pad_texts(texts: Sequence[list[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids (texts, time) int32, and how many count (texts,) int32.

    Args:
        length: most that the time may be; it is a power of two else, so that there are few shapes.
    """
    counts = np.array([len(ids) for ids in texts], np.int32)
    tokens = np.zeros((len(texts), _round_up(max(int(counts.max()), SHORTEST), length)), np.int32)
    for row, ids in zip(tokens, texts, strict=True):
        row[: len(ids)] = ids
    return tokens, counts


def write_tokens(cache: Tensor, new: Tensor, places: Tensor, axis: int) -> Tensor:
    """Write keys or values of a token of each text.

    Args:
        cache: keys (texts * heads, head_dim, length) or values (texts * heads, length, head_dim).
        new: (texts, heads, head_dim, 1) or (texts, heads, 1, head_dim).
        places: (texts,) where.
        axis: of the cache, on which they are places.
    """
    count, heads = new.shape[:2]
    if count > FEW:
        here = ops.expand_dims(ops.arange(cache.shape[axis]), 0) == ops.expand_dims(places, 1)
        here = ops.expand_dims(ops.repeat(here, heads, axis=0), 3 - axis)
        return ops.where(here, ops.reshape(new, (count * heads, *new.shape[2:])), cache)
    # Updates of single places are done where they are; a scatter would be a slow loop on a CPU.
    for text in range(count):
        start = [text * heads, 0, 0]
        start[axis] = places[text]
        cache = ops.slice_update(cache, start, new[text])
    return cache


def _round_up(count: int, most: int, bits: int = 1) -> int:
    """Return the next power of 2**bits, at most so many."""
    exponent = -(-(count - 1).bit_length() // bits) * bits
    return int(min(1 << exponent, most))


def _compile(network: keras.Model) -> Callable[[np.ndarray, np.ndarray], Any]:
    """Return the network as a compiled function of tokens and segments."""
    if keras.backend.backend() == "jax":
        import jax

        @jax.jit
        def run(weights: Any, tokens: Any, segments: Any) -> Any:
            with keras.StatelessScope(zip(network.variables, weights, strict=True)):
                return network({"tokens": tokens, "segments": segments}, training=False)

        return lambda *inputs: run([v.value for v in network.variables], *inputs)
    import tensorflow as tf

    return tf.function(
        lambda tokens, segments: network({"tokens": tokens, "segments": segments}, training=False),
        reduce_retracing=True,
    )
