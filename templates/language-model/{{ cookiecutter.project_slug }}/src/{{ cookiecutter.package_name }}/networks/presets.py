"""Open models: networks of KerasHub with their weights, from a folder or a handle.

A preset is a folder in Hugging Face's form (``config.json``, ``model.safetensors``,
``tokenizer.json``) or KerasHub's, a handle (``hf://``, ``kaggle://``, ``modelscope://``) or a name
that KerasHub knows. A trained model no longer needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ..engine.errors import ProjectError, UsageProblem, unknown
from .hub import import_keras_hub
from .tuning import Tuning, adapt, plain_weights

DEFAULT_CONTEXT = 512
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.h5", "assets/*")
SCHEMES = ("hf", "kaggle", "modelscope")

# See ``model.SHARDING_RULES``; KerasHub has such rules for Gemma, Llama and Qwen 2 only. Patterns
# are of whole paths. Kernels of attention are (dim, heads, head_dim), in Gemma (heads, dim,
# head_dim). Keys and values have few heads, which the devices would not divide.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "^token_embedding/embeddings": (None, "model"),  # (token ids, dim)
    "token_embedding/reverse_embeddings": ("model", None),
    "transformer_layer_.*/query/kernel": (None, "model", None),
    "transformer_layer_.*/(key|value)/kernel": ("model", None, None),
    "transformer_layer_.*/attention_output/kernel": ("model", None, None),
    "decoder_block_.*/query/kernel": ("model", None, None),
    "decoder_block_.*/(key|value)/kernel": (None, "model", None),
    "decoder_block_.*/attention_output/kernel": ("model", None, None),
    "transformer_layer_.*/feedforward_(intermediate|gate)_dense/kernel": (None, "model"),
    "transformer_layer_.*/feedforward_output_dense/kernel": ("model", None),
    "decoder_block_.*/ffw_gating(_2)?/kernel": (None, "model"),
    "decoder_block_.*/ffw_linear/kernel": ("model", None),
}


# === The folder ===


def find_folder(preset: str) -> Path:
    """Return the folder of a preset, which is downloaded first unless it is one.

    Raises:
        UsageProblem: there is no such folder, or no such name.
        ProjectError: it cannot be downloaded, or lacks a file.
    """
    folder = Path(preset).expanduser()
    scheme, separator, handle = preset.partition("://")
    if separator and scheme not in SCHEMES:
        raise unknown("model.preset", scheme, SCHEMES)
    if not separator:
        if folder.is_dir():
            check_folder(folder)
            return folder
        if folder.exists() or os.sep in preset or preset.startswith((".", "~")):
            raise UsageProblem(f"model.preset: there is no folder {preset!r}.")
        presets = import_keras_hub().models.CausalLM.presets
        if preset not in presets:
            raise unknown("model.preset", preset, presets)
        scheme, _, handle = presets[preset]["kaggle_handle"].partition("://")
    with _explain_errors(preset):
        folder = _download(scheme, handle)
    check_folder(folder)
    return folder


def _download(scheme: str, handle: str) -> Path:
    if scheme == "hf":
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(handle, allow_patterns=list(FILES)))
    if scheme == "kaggle":
        import kagglehub

        return Path(kagglehub.model_download(handle))
    try:
        from modelscope.hub.snapshot_download import snapshot_download as download
    except ImportError:
        reason = "model.preset: modelscope is not installed: pip install modelscope."
        raise ProjectError(reason) from None
    return Path(download(handle))


def check_folder(folder: Path) -> None:
    """Refuse a folder that lacks a file which networks and tokenisers are made from.

    Raises:
        ProjectError: it names the file.
    """
    config = read_json(folder, "config.json")
    if "model_type" in config:
        check_huggingface(config)
        weights = ["model.safetensors"]
        if (folder / "model.safetensors.index.json").is_file():
            index = read_json(folder, "model.safetensors.index.json")
            weights = sorted(set(index.get("weight_map", {}).values()))
    else:
        weights = ["model.weights.h5"]
        if (folder / "model.weights.json").is_file():
            index = read_json(folder, "model.weights.json")
            weights = sorted(
                {name for part in index.get("weight_map", {}).values() for name in part}
            )
    for name in (*weights, "tokenizer.json"):
        if not (folder / name).is_file():
            raise ProjectError(f"model.preset: {str(folder)!r} has no file {name!r}.")


def is_huggingface(folder: Path) -> bool:
    """Return whether a preset is in Hugging Face's form, not in KerasHub's."""
    return "model_type" in read_json(folder, "config.json")


def read_json(folder: Path, name: str, default: Any = None) -> dict[str, Any]:
    """Return what a file of a preset holds.

    Args:
        folder: of the preset.
        name: of the file.
        default: is returned where there is no such file; None: there must be one.

    Raises:
        ProjectError: it is missing or no JSON.
    """
    path = folder / name
    if not path.is_file():
        if default is not None:
            return dict(default)
        raise ProjectError(f"model.preset: {str(folder)!r} has no file {name!r}.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ProjectError(f"model.preset: {str(path)!r} is no JSON object.")
    return value


def choose_context(config: Any) -> int:
    """Return the number of tokens that a preset's network is to see at once.

    Raises:
        UsageProblem: ``model.context`` is more than the preset takes.
    """
    largest = _read_largest_context(find_folder(find_preset(config)))
    if config.model.context is None:
        return min(DEFAULT_CONTEXT, largest or DEFAULT_CONTEXT)
    if largest and config.model.context > largest:
        raise UsageProblem(
            f"model.context: this preset takes at most {largest} tokens, not "
            f"{config.model.context}."
        )
    return int(config.model.context)


def _read_largest_context(folder: Path) -> int | None:
    config = read_json(folder, "config.json")
    parts = (config, config.get("text_config") or {}, config.get("config") or {})
    names = ("max_position_embeddings", "n_positions", "max_sequence_length")
    found = (part[name] for part in parts for name in names if part.get(name))
    return next(found, None)


def find_preset(config: Any) -> str:
    """Return ``model.preset``.

    Raises:
        UsageProblem: it is not set.
    """
    if not config.model.preset:
        raise UsageProblem(
            "model.preset: this model needs one: a folder, hf://…, kaggle://…, modelscope://… or a "
            "name that KerasHub knows."
        )
    return str(config.model.preset)


# === What KerasHub would load wrongly ===


def check_huggingface(config: Mapping[str, Any]) -> None:
    """Refuse a network in Hugging Face's form that KerasHub builds otherwise than it was trained.

    Args:
        config: what ``config.json`` holds.

    Raises:
        UsageProblem: it names the field.
    """
    family = config["model_type"]
    for field, value, allowed in _list_limits(config):
        if value not in allowed:
            allowed_text = " or ".join(json.dumps(one) for one in allowed)
            raise UsageProblem(
                f"model.preset: config.json has {field} {json.dumps(value)}; KerasHub's {family} "
                f"knows only {allowed_text}."
            )


def _list_limits(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield fields of ``config.json``, their values, and those that KerasHub can have."""
    family = config["model_type"]
    if family in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"):
        rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        yield "rope_type", kind, ("default", "llama3") if family == "llama" else ("default",)
    if family in ("llama", "mistral", "qwen2", "qwen3"):
        yield "hidden_act", config.get("hidden_act", "silu"), ("silu",)
    if family in ("llama", "qwen3"):
        yield "attention_bias", config.get("attention_bias", False), (False,)
    if family == "llama":
        yield "mlp_bias", config.get("mlp_bias", False), (False,)
    if family in ("llama", "qwen2") and config.get("head_dim"):
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        yield "head_dim", config["head_dim"], (head_dim,)
    if family == "mistral":
        yield "tie_word_embeddings", config.get("tie_word_embeddings", False), (False,)
    if family in ("qwen2", "qwen3"):
        yield "use_sliding_window", config.get("use_sliding_window", False), (False,)
    if family == "gemma":
        yield "rms_norm_eps", config.get("rms_norm_eps", 1e-6), (1e-6,)
        yield "rope_theta", _read_wavelength(config, 10_000.0), (10_000.0,)
    if family == "gpt2":
        yield "activation_function", config.get("activation_function", "gelu_new"), ("gelu_new",)
        yield "n_inner", config.get("n_inner"), (None, 4 * config["n_embd"])
        yield "layer_norm_epsilon", config.get("layer_norm_epsilon", 1e-5), (1e-5,)
    if family == "gemma3":
        yield "model_type", family, ("gemma3_text",)  # those with images
    if family == "gemma3_text":
        yield from _list_gemma3_limits(config)


def _list_gemma3_limits(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield those of Gemma 3, in which KerasHub lets every sixth layer see everything."""
    layers = config["num_hidden_layers"]
    pattern = ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(layers)]
    yield "layer_types", config.get("layer_types") or pattern, (pattern,)
    yield "sliding_window_pattern", config.get("sliding_window_pattern", 6), (6,)
    yield "use_bidirectional_attention", config.get("use_bidirectional_attention"), (None, False)
    parts = config.get("rope_parameters") or {}
    whole, local = parts.get("full_attention") or {}, parts.get("sliding_attention") or {}
    wavelength = whole.get("rope_theta", config.get("rope_theta", 1_000_000.0))
    yield "rope_theta", wavelength, (1_000_000.0,)
    wavelength = local.get("rope_theta", config.get("rope_local_base_freq", 10_000.0))
    yield "rope_local_base_freq", wavelength, (10_000.0,)
    kind = (config.get("rope_scaling") or whole).get("rope_type", "default")
    yield "rope_type", kind, ("default", "linear")


def _read_wavelength(config: Mapping[str, Any], default: float) -> float:
    rope = config.get("rope_parameters") or {}
    return float(rope.get("rope_theta") or config.get("rope_theta") or default)


def _choose_overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the network that KerasHub does not take from ``config.json``."""
    if config.get("model_type") != "llama":
        return {}
    overrides: dict[str, Any] = {"layer_norm_epsilon": config.get("rms_norm_eps", 1e-6)}
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") == "llama3":
        overrides |= {
            "rope_frequency_adjustment_factor": rope["factor"],
            "rope_low_freq_factor": rope["low_freq_factor"],
            "rope_high_freq_factor": rope["high_freq_factor"],
            "rope_pretraining_sequence_length": rope["original_max_position_embeddings"],
        }
    return overrides


# === The network ===


@keras.saving.register_keras_serializable(__package__)
class PresetNetwork(keras.Model):
    """Logits (batch, time, vocabulary) float32 of a backbone, from ``tokens`` and ``segments``.

    A row holds one segment: a token attends to all earlier ones that are no padding.

    Args:
        backbone: of KerasHub, from token ids and a padding mask to hidden states.
        tuning: that the backbone is adapted to; None: all its weights are trained.
        origin: what ``config.json`` of a preset in Hugging Face's form holds.
    """

    def __init__(
        self,
        backbone: keras.Model,
        tuning: Tuning | None = None,
        origin: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if tuning is not None:
            adapt(backbone, tuning)
        tokens = keras.Input((None,), dtype="int32", name="tokens")
        segments = keras.Input((None,), dtype="int32", name="segments")
        padding_mask = ops.cast(ops.greater(segments, 0), "int32")
        hidden = backbone({"token_ids": tokens, "padding_mask": padding_mask})
        logits = backbone.token_embedding(hidden, reverse=True)
        super().__init__(
            inputs={"tokens": tokens, "segments": segments},
            outputs=ops.cast(logits, "float32"),
            **kwargs,
        )
        self.backbone, self.tuning = backbone, tuning
        self._origin = json.dumps(origin)  # Keras would wrap a dict

    def read_origin(self) -> dict[str, Any]:
        """Return ``config.json`` of the preset; of one that was in KerasHub's form nothing."""
        return json.loads(self._origin) or {}

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of the backbone, and how it is adapted."""
        return {
            "name": self.name,
            "backbone": _serialize_backbone(self.backbone),
            "tuning": self.tuning.to_json() if self.tuning else None,
            "origin": json.loads(self._origin),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PresetNetwork:
        """Build the network anew, with random weights."""
        import_keras_hub()
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        tuning = Tuning.from_json(config["tuning"]) if config["tuning"] else None
        return cls(backbone, tuning, config["origin"], name=config["name"])


def _serialize_backbone(backbone: keras.Model) -> dict[str, Any]:
    """Return a backbone's class and configuration."""
    state: dict[str, Any] = keras.saving.serialize_keras_object(backbone)
    # KerasHub's Llama leaves it out.
    if hasattr(backbone, "tie_word_embeddings"):
        state["config"]["tie_word_embeddings"] = backbone.tie_word_embeddings
    return state


def build(config: Any, preprocessing: Any) -> PresetNetwork:
    """Load a preset's network, and prepare it for ``model.tuning``.

    Args:
        config: of the run.
        preprocessing: has the preset's tokeniser.

    Raises:
        UsageProblem: the configuration asks for what presets cannot do.
        ProjectError: the preset cannot be loaded.
    """
    if config.data.packing:
        raise UsageProblem(
            "data.packing: presets take one text in a row, since theirs would see one another; "
            "leave it out."
        )
    tuning = Tuning.from_config(config)
    origin = read_json(find_folder(find_preset(config)), "config.json")
    network = PresetNetwork(
        load_backbone(config),
        tuning,
        origin if "model_type" in origin else None,
        name="preset",
    )
    size = network.backbone.token_embedding.input_dim
    if preprocessing.tokenizer.size > size:
        raise UsageProblem(
            f"data.tokens: it has {preprocessing.tokenizer.size} tokens, the preset only {size}; "
            "use the preset's."
        )
    return network


def load_backbone(config: Any) -> keras.Model:
    """Return a preset's backbone with its weights, in the precision of the run.

    Raises:
        UsageProblem: its network is not one that writes from left to right.
        ProjectError: it cannot be loaded.
    """
    name = find_preset(config)
    dropout = config.model.dropout
    overrides = {} if dropout is None else {"dropout": dropout}
    backbone = read_backbone(find_folder(name), keras.config.dtype_policy(), **overrides)
    find_causal_class(backbone, name)
    return backbone


def read_backbone(folder: Path, dtype: Any = "float32", **overrides: Any) -> keras.Model:
    """Return the backbone that a folder holds, with its weights.

    Args:
        folder: of a preset.
        dtype: policy of its layers.
        overrides: fields of the backbone.

    Raises:
        ProjectError: it cannot be loaded.
    """
    overrides = {**_choose_overrides(read_json(folder, "config.json")), **overrides}
    keras_hub = import_keras_hub()
    with _explain_errors(str(folder)), _keep_precision():
        return keras_hub.models.Backbone.from_preset(str(folder), dtype=dtype, **overrides)


@contextmanager
def _keep_precision() -> Iterator[None]:
    """Load weights as they are; KerasHub rounds those of Mistral and Mixtral to float16."""
    from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

    original = SafetensorLoader.get_tensor
    SafetensorLoader.get_tensor = lambda loader, name: original(loader, name).view(_Unrounded)
    try:
        yield
    finally:
        SafetensorLoader.get_tensor = original


class _Unrounded(np.ndarray):
    """An array that stays in its own precision."""

    def astype(self, *arguments: Any, **options: Any) -> Any:
        return self


def merge(network: PresetNetwork) -> PresetNetwork:
    """Return a copy in float32 without adapters: what they have learnt is in its weights.

    Args:
        network: it is not changed.
    """
    state = _serialize_backbone(network.backbone)
    state["config"]["dtype"] = "float32"
    copy = keras.saving.deserialize_keras_object(state)
    merged = PresetNetwork(copy, origin=json.loads(network._origin), name=network.name)
    values = plain_weights(network)
    for weight in merged.weights:
        weight.assign(values[weight.path])
    return merged


def find_causal_class(backbone: keras.Model, name: str) -> Any:
    """Return KerasHub's class that writes with a backbone.

    Raises:
        UsageProblem: there is none, or it needs more than text.
    """
    models = import_keras_hub().models
    for value in vars(models).values():
        if (
            isinstance(value, type)
            and issubclass(value, models.CausalLM)
            and getattr(value, "backbone_cls", None) is type(backbone)
            and set(backbone.input) == {"token_ids", "padding_mask"}
        ):
            return value
    raise UsageProblem(
        f"model.preset: {name!r} holds a {type(backbone).__name__}, which is no model that "
        "continues texts."
    )


@contextmanager
def _explain_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (ProjectError, MemoryError):
        raise
    except Exception as error:  # each hub's library has its own
        missing = isinstance(error, KeyError)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"config.json lacks {lines[0]}" if missing else lines[0][:200]
        raise ProjectError(f"model.preset: {name!r} cannot be loaded: {reason}") from error


# === Writing with a cache ===


def make_preset_decoder(model: Any, slots: int, length: int) -> PresetDecoder:
    """Return what decodes texts with a preset, a token at a time.

    Args:
        model: an artifact with a ``PresetNetwork``, or that network.
        slots: texts that are decoded at the same time.
        length: of the longest text, in tokens.
    """
    network = getattr(model, "network", model)
    return PresetDecoder(network, slots, length)


class PresetDecoder:
    """Decodes texts, each in a slot with keys and values of its own.

    Args:
        network: of the model.
        slots: their number.
        length: of the longest text, in tokens.
    """

    def __init__(self, network: PresetNetwork, slots: int, length: int) -> None:
        self.length = length
        causal = find_causal_class(network.backbone, network.name)
        self._language_model = causal(backbone=network.backbone, preprocessor=None)
        self._run = _compile(network, self._call)
        self._empty = self._make_cache()
        self._caches: list[Any] = [None] * slots
        self._positions = np.zeros(slots, "int32")
        self._vocabulary = network.output.shape[-1]

    def prefill(self, slot: int, ids: list[int]) -> np.ndarray:
        """Read a text into a slot, and return logits (vocabulary,) of what follows it."""
        if not 0 < len(ids) <= self.length:
            raise ValueError(f"{len(ids)} tokens; allowed: 1 to {self.length}")
        # Compiled once for each power of two. Keys of the padding are overwritten in time.
        size = min(self.length, max(16, 1 << (len(ids) - 1).bit_length()))
        tokens = np.zeros((1, size), "int32")
        tokens[0, : len(ids)] = ids
        logits, self._caches[slot] = self._run(tokens, self._empty, np.int32(0), len(ids) - 1)
        self._positions[slot] = len(ids)
        return ops.convert_to_numpy(logits)

    def step(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Append a token to each active slot; return logits (slots, vocabulary) of what follows.

        Args:
            tokens: (slots,) ids.
            active: (slots,) bool; rows of the others are zeros.
        """
        logits = np.zeros((len(self._caches), self._vocabulary), "float32")
        for slot in np.flatnonzero(active):
            place = self._positions[slot]
            if place >= self.length:
                raise ValueError(f"slot {slot} is full: {self.length} tokens")
            token = np.asarray(tokens[slot], "int32").reshape(1, 1)
            row, self._caches[slot] = self._run(token, self._caches[slot], place, 0)
            logits[slot] = ops.convert_to_numpy(row)
            self._positions[slot] += 1
        return logits

    def free(self, slot: int) -> None:
        """Forget the text of a slot."""
        self._caches[slot] = None
        self._positions[slot] = 0

    def _call(self, tokens: Any, cache: Any, start: Any, last: Any) -> tuple[Any, Any]:
        """Return logits (vocabulary,) at one of the places, and the cache after all of them.

        Args:
            tokens: (1, time) that come next.
            cache: of those before.
            start: place of the first one in the text.
            last: place in ``tokens`` whose logits are returned.
        """
        logits, _, cache = self._language_model.call_with_cache(tokens, cache, start)
        return ops.cast(ops.take(logits[0], last, axis=0), "float32"), cache

    def _make_cache(self) -> Any:
        """Return an empty cache, whose form each family has its own of."""
        tokens = np.zeros((1, self.length), "int32")
        build = self._language_model._build_cache
        # Gemma 3 may see images, of which there are none.
        names = build.__code__.co_varnames
        rest = (None, None, np.ones_like(tokens), None) if "img_embeddings" in names else ()
        specs = _trace(lambda: build(tokens, *rest)[1])
        return keras.tree.map_structure(
            lambda spec: ops.zeros(spec.shape, keras.backend.standardize_dtype(spec.dtype)), specs
        )


def _trace(function: Callable[[], Any]) -> Any:
    """Return shapes and types of what a function would return, without computing it."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False).get_concrete_function().structured_outputs
    import jax

    return jax.eval_shape(function)


def _compile(network: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes with a network as one program of the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        program = tf.function(function, reduce_retracing=True)

        def call(tokens: Any, cache: Any, start: Any, last: Any) -> Any:
            places = (tf.constant(start, tf.int32), tf.constant(last, tf.int32))
            return program(tf.constant(tokens), cache, *places)

        return call
    import jax

    variables = network.variables

    @jax.jit
    def compute(values: Any, *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    return lambda *arguments: compute([variable.value for variable in variables], *arguments)
