"""Decoder-only transformers: pre-norm blocks with attention to the earlier tokens of a segment.

A block has one of two forms, and so can be written in Hugging Face's form without loss: that of
Llama (RMS normalisation, rotary positions, gated feed-forward, no biases) or of GPT-2 (layer
normalisation, learned positions, biases).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import initializers, layers, ops

Tensor = Any  # of Keras' backend; Keras has no types
Shape = tuple[int | None, ...]  # None: any size
Form = Literal["llama", "gpt2"]

EPSILON = 1e-5  # of all normalisations, as GPT-2 and Llama have it
ROTARY_BASE = 10_000.0  # of the wavelengths of rotary positions: Su et al. 2021
INITIAL_STD = 0.02  # of all matrices: Radford et al. 2019
HIDDEN = -1e9  # score of a token that may not be seen; the softmax is in float32

# Names of layers.
EMBEDDING, POSITIONS, ROTARY = "token_embedding", "position_embedding", "rotary"
MASK, NORM = "mask", "norm"


def build(
    vocabulary_size: int,
    context: int,
    num_layers: int,
    num_heads: int,
    embedding_dim: int,
    *,
    form: Form,
    activation: str = "gelu",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    seed: int = 0,
    name: str = "gpt",
) -> keras.Model:
    """Build a network with the inputs ``tokens`` and ``segments`` (batch, time) int32.

    Its outputs are logits (batch, time, vocabulary_size) float32 of each next token. The weights of
    the token embedding are those of the last layer too.

    Args:
        context: most tokens of a row.
        form: of the blocks; ``gpt2`` has learned positions, which begin anew in each segment.
        activation: ``gelu``, or ``gelu_tanh``, the approximation that GPT-2 was trained with.
        dropout: of the embeddings and of what each block adds.
        attention_dropout: of the attention's weights.
        seed: of the dropout.
    """
    # === Layers ===
    inputs = {
        "tokens": keras.Input((None,), dtype="int32", name="tokens"),
        "segments": keras.Input((None,), dtype="int32", name="segments"),
    }
    embedding = layers.ReversibleEmbedding(
        vocabulary_size,
        embedding_dim,
        embeddings_initializer=initializers.RandomNormal(stddev=INITIAL_STD),
        # A softmax over half-precision logits loses too much.
        reverse_dtype="float32",
        name=EMBEDDING,
    )
    mask = SegmentMask(name=MASK)(inputs["segments"])  # (batch, 1, time, time)
    x = embedding(inputs["tokens"])  # (batch, time, embedding_dim)
    rotation = None
    if form == "gpt2":
        x = PositionEmbedding(context, name=POSITIONS)(x, mask)
    else:
        rotation = RotaryTable(embedding_dim // num_heads, name=ROTARY)(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    for number in range(num_layers):
        block = Block(
            num_heads,
            form,
            activation,
            dropout,
            attention_dropout,
            num_layers=num_layers,
            seed=seed + 1 + number,
            name=f"block_{number}",
        )
        x = block(x, mask, rotation)
    x = make_norm(form, name=NORM)(x)
    return keras.Model(inputs, embedding(x, reverse=True), name=name)


@keras.saving.register_keras_serializable(__package__)
class SegmentMask(layers.Layer):
    """Which tokens a token attends to: itself and the earlier ones of its own segment.

    Maps segments (batch, time) int32 to a mask (batch, 1, time, time) bool: query, key.
    """

    def call(self, segments: Tensor) -> Tensor:
        place = ops.arange(ops.shape(segments)[1])
        earlier = ops.expand_dims(place, 1) >= ops.expand_dims(place, 0)  # (time, time)
        same = ops.equal(ops.expand_dims(segments, 2), ops.expand_dims(segments, 1))
        return ops.expand_dims(ops.logical_and(same, earlier), 1)

    def compute_output_spec(self, segments: Tensor) -> keras.KerasTensor:
        batch, time = segments.shape
        return keras.KerasTensor((batch, 1, time, time), "bool")


@keras.saving.register_keras_serializable(__package__)
class PositionEmbedding(layers.Layer):
    """Add a learned embedding of each token's place in its segment (batch, time, embedding_dim).

    Args:
        context: number of places.
    """

    def __init__(self, context: int, **options: Any) -> None:
        super().__init__(**options)
        self.context = context

    def build(self, shape: Shape) -> None:
        self.embeddings = self.add_weight(
            (self.context, shape[-1]),
            initializers.RandomNormal(stddev=INITIAL_STD),
            name="embeddings",
        )

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        # As many tokens as it sees besides itself stand before it.
        places = ops.sum(ops.cast(mask[:, 0], "int32"), axis=-1) - 1  # (batch, time)
        return self.add(x, places)

    def add(self, x: Tensor, places: Tensor) -> Tensor:
        """Add the embeddings of places (batch, time) int32."""
        return x + ops.cast(ops.take(self.embeddings, places, axis=0), x.dtype)

    def compute_output_spec(self, x: Tensor, mask: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "context": self.context}


@keras.saving.register_keras_serializable(__package__)
class RotaryTable(layers.Layer):
    """Cosines and sines (2, time, head_dim) by which queries and keys are turned: Su et al. 2021.

    Scores depend on distances alone, so that places need not begin anew in each segment.

    Args:
        head_dim: even; its first half is turned together with its second, as in Llama.
    """

    def __init__(self, head_dim: int, **options: Any) -> None:
        super().__init__(**options)
        self.head_dim = head_dim

    def call(self, x: Tensor) -> Tensor:
        return self.at(ops.arange(ops.shape(x)[1]))

    def at(self, places: Tensor) -> Tensor:
        """Return the table (2, …, head_dim) float32 of places (…) int32."""
        half = self.head_dim // 2
        exponents = ops.arange(half, dtype="float32") / half
        frequencies = ops.exp(-math.log(ROTARY_BASE) * exponents)
        angles = ops.expand_dims(ops.cast(places, "float32"), -1) * frequencies
        angles = ops.concatenate([angles, angles], axis=-1)
        return ops.stack([ops.cos(angles), ops.sin(angles)])

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((2, x.shape[1], self.head_dim), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "head_dim": self.head_dim}


@keras.saving.register_keras_serializable(__package__)
class Block(layers.Layer):
    """Attention and feed-forward, each after a normalisation and added to its input.

    ``project``, ``attend`` and ``finish`` are the parts of ``call``; decoding with a cache of keys
    and values puts them together in another way.

    Args:
        num_heads: divides the size of the inputs (batch, time, embedding_dim).
        form: ``llama`` or ``gpt2``, see the module.
        activation: of the feed-forward of ``gpt2``: ``gelu`` or ``gelu_tanh``.
        dropout: of what is added.
        attention_dropout: of the attention's weights.
        num_layers: blocks of the network, which decide how small the added weights begin.
        seed: of the dropout.
    """

    def __init__(
        self,
        num_heads: int,
        form: Form,
        activation: str = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_layers: int = 1,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heads, self.form, self.activation = num_heads, form, activation
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.num_layers, self.seed = num_layers, seed

    def build(self, shape: Shape) -> None:
        dim = shape[-1]
        assert dim is not None
        is_gpt2, self.head_dim = self.form == "gpt2", dim // self.num_heads
        hidden_dim = 4 * dim if is_gpt2 else choose_gate_dim(dim)
        common = {"dtype": self.dtype_policy}
        initial = {"kernel_initializer": initializers.RandomNormal(stddev=INITIAL_STD)}
        # What is added grows with the number of blocks unless it begins smaller: Radford et al.
        small = INITIAL_STD / math.sqrt(2 * self.num_layers)
        initial_added = {"kernel_initializer": initializers.RandomNormal(stddev=small)}

        self.attention_norm = make_norm(self.form, name="attention_norm", **common)
        # Kernels are matrices: XLA reads those of more axes slowly where there is one token. Each
        # head's query, key and value stand together, so that a part of the columns is whole heads.
        self.query_key_value = layers.Dense(
            3 * dim, use_bias=is_gpt2, name="query_key_value", **initial, **common
        )
        self.attention_output = layers.Dense(
            dim, use_bias=is_gpt2, name="attention_output", **initial_added, **common
        )
        self.feedforward_norm = make_norm(self.form, name="feedforward_norm", **common)
        self.feedforward_up = layers.Dense(
            hidden_dim, use_bias=is_gpt2, name="feedforward_up", **initial, **common
        )
        self.feedforward_gate = None
        if not is_gpt2:
            self.feedforward_gate = layers.Dense(
                hidden_dim, use_bias=False, name="feedforward_gate", **initial, **common
            )
            self.feedforward_gate.build(shape)
        self.feedforward_down = layers.Dense(
            dim, use_bias=is_gpt2, name="feedforward_down", **initial_added, **common
        )
        self.drop = layers.Dropout(self.dropout, seed=self.seed, name="drop", **common)
        self.drop_attention = layers.Dropout(
            self.attention_dropout, seed=self.seed, name="drop_attention", **common
        )
        for layer in (
            self.attention_norm,
            self.query_key_value,
            self.attention_output,
            self.feedforward_norm,
            self.feedforward_up,
        ):
            layer.build(shape)
        self.feedforward_down.build((*shape[:-1], hidden_dim))

    def call(
        self, x: Tensor, mask: Tensor, rotation: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        query, key, value = self.project(x, rotation)
        return self.finish(x, self.attend(query, key, value, mask, training), training)

    def project(self, x: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (batch, heads, time, head_dim).

        Args:
            x: inputs (batch, time, embedding_dim).
            rotation: that of ``RotaryTable`` (2, time, head_dim), or (2, batch, 1, time, head_dim)
                where each row has its own places.
        """
        projected = self.query_key_value(self.attention_norm(x))
        shape = *ops.shape(x)[:2], self.num_heads, 3, self.head_dim
        projected = ops.transpose(ops.reshape(projected, shape), (3, 0, 2, 1, 4))
        if rotation is None:
            return projected[0], projected[1], projected[2]
        turned = _rotate(projected[:2], ops.cast(rotation, projected.dtype))
        return turned[0], turned[1], projected[2]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, training: bool | None = None
    ) -> Tensor:
        """Return what the attention reads (batch, heads, time, head_dim).

        Args:
            query: (batch, heads, time, head_dim); key and value have a time of their own. Instead
                of batch and heads there may be one axis for both.
            mask: (batch, 1, time of the query, time of the key) bool, or what fits the query.
        """
        query = query * ops.cast(1 / math.sqrt(self.head_dim), query.dtype)
        scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
        scores = ops.where(mask, ops.cast(scores, "float32"), HIDDEN)
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        if self.attention_dropout:
            weights = self.drop_attention(weights, training=training)
        return ops.matmul(weights, value)

    def finish(self, x: Tensor, attended: Tensor, training: bool | None = None) -> Tensor:
        """Return the outputs of the block from its inputs and what the attention has read."""
        attended = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), ops.shape(x))
        x = x + self.drop(self.attention_output(attended), training=training)
        y = self.feedforward_norm(x)
        if self.feedforward_gate is not None:
            y = ops.silu(self.feedforward_gate(y)) * self.feedforward_up(y)
        else:
            y = _gelu(self.feedforward_up(y), self.activation)
        return x + self.drop(self.feedforward_down(y), training=training)

    def compute_output_spec(self, x: Tensor, *others: Any, **options: Any) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "form": self.form,
            "activation": self.activation,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "num_layers": self.num_layers,
            "seed": self.seed,
        }


def find_blocks(network: keras.Model) -> list[Block]:
    """Return the blocks of a network in their order; none where it is not one of this module."""
    return [layer for layer in network.layers if isinstance(layer, Block)]


def make_norm(form: Form, **options: Any) -> keras.layers.Layer:
    """Make the normalisation of a form: RMS (Zhang & Sennrich 2019) or of mean and variance."""
    if form == "gpt2":
        return layers.LayerNormalization(epsilon=EPSILON, **options)
    return layers.RMSNormalization(epsilon=EPSILON, **options)


def choose_gate_dim(embedding_dim: int) -> int:
    """Return the size of a gated feed-forward with no more weights than one of 4 embedding_dim.

    A multiple of 32, as processors like it, or of 8 where that would leave too little.
    """
    most = 8 * embedding_dim // 3
    return max(most - most % (32 if most >= 64 else 8), 8)


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn queries and keys (2, batch, heads, time, head_dim)."""
    half = x.shape[-1] // 2
    turned = ops.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return x * rotation[0] + turned * rotation[1]


def _gelu(x: Tensor, activation: str) -> Tensor:
    if activation == "gelu_tanh":
        return ops.gelu(x, approximate=True)
    # Written out, as ONNX Runtime refuses what becomes of Keras' own.
    return 0.5 * x * (1.0 + ops.erf(x * (1 / math.sqrt(2))))
