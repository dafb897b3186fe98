"""Weights and configuration of networks as Hugging Face's ``transformers`` names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import keras
import numpy as np

from ..engine.errors import UsageProblem
from ..networks import gpt
from ..networks.presets import PresetNetwork
from ..networks.tuning import kernel_matrix

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Family:
    """A family of networks of KerasHub.

    Attributes:
        architecture: class of ``transformers``.
        model_type: its name in ``config.json``.
        dense: names of dense layers in a block -> attributes of KerasHub's block.
        norms: the same of normalisations.
        fields: of ``config.json`` -> attributes of KerasHub's backbone.
        constants: of ``config.json``.
    """

    architecture: str
    model_type: str
    dense: Mapping[str, str]
    norms: Mapping[str, str]
    fields: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)


FIELDS = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_query_heads",
    "num_key_value_heads": "num_key_value_heads",
    "rms_norm_eps": "layer_norm_epsilon",
}
WAVELENGTH = {"rope_theta": "rope_max_wavelength"}
TIED = {"tie_word_embeddings": "tie_word_embeddings"}
DENSE = {
    "self_attn.q_proj": "_self_attention_layer._query_dense",
    "self_attn.k_proj": "_self_attention_layer._key_dense",
    "self_attn.v_proj": "_self_attention_layer._value_dense",
    "self_attn.o_proj": "_self_attention_layer._output_dense",
    "mlp.gate_proj": "_feedforward_gate_dense",
    "mlp.up_proj": "_feedforward_intermediate_dense",
    "mlp.down_proj": "_feedforward_output_dense",
}
NORMS = {
    "input_layernorm": "_self_attention_layernorm",
    "post_attention_layernorm": "_feedforward_layernorm",
}
GEMMA_DENSE = {
    "self_attn.q_proj": "attention.query_dense",
    "self_attn.k_proj": "attention.key_dense",
    "self_attn.v_proj": "attention.value_dense",
    "self_attn.o_proj": "attention.output_dense",
    "mlp.gate_proj": "gating_ffw",
    "mlp.up_proj": "gating_ffw_2",
    "mlp.down_proj": "ffw_linear",
}
GPT2_DENSE = {
    "attn.c_attn": "_self_attention_layer._query_dense _self_attention_layer._key_dense "
    "_self_attention_layer._value_dense",  # side by side
    "attn.c_proj": "_self_attention_layer._output_dense",
    "mlp.c_fc": "_feedforward_intermediate_dense",
    "mlp.c_proj": "_feedforward_output_dense",
}
HEAD_DIM = {"head_dim": "head_dim"}
LLAMA = Family(
    "LlamaForCausalLM",
    "llama",
    DENSE,
    NORMS,
    {**FIELDS, **WAVELENGTH, **TIED},
    {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
)
GEMMA_CONSTANTS = {"hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}

FAMILIES: dict[str, Family] = {  # by the class of the backbone
    "LlamaBackbone": LLAMA,
    "Llama3Backbone": LLAMA,
    "MistralBackbone": Family(
        "MistralForCausalLM",
        "mistral",
        DENSE,
        NORMS,
        {**FIELDS, **WAVELENGTH, **HEAD_DIM, "sliding_window": "sliding_window"},
        {"hidden_act": "silu", "tie_word_embeddings": False},
    ),
    "QwenBackbone": Family(
        "Qwen2ForCausalLM",
        "qwen2",
        DENSE,
        NORMS,
        {**FIELDS, **WAVELENGTH, **TIED},
        {"hidden_act": "silu", "use_sliding_window": False},
    ),
    "Qwen3Backbone": Family(
        "Qwen3ForCausalLM",
        "qwen3",
        DENSE,
        {
            **NORMS,
            "self_attn.q_norm": "_self_attention_layer._query_dense_layer_norm",
            "self_attn.k_norm": "_self_attention_layer._key_dense_layer_norm",
        },
        {**FIELDS, **WAVELENGTH, **TIED, **HEAD_DIM},
        {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False},
    ),
    "GemmaBackbone": Family(
        "GemmaForCausalLM",
        "gemma",
        GEMMA_DENSE,
        {"input_layernorm": "pre_attention_norm", "post_attention_layernorm": "pre_ffw_norm"},
        {**FIELDS, **HEAD_DIM},
        {**GEMMA_CONSTANTS, "rope_theta": 10_000.0},
    ),
    "Gemma3Backbone": Family(
        "Gemma3ForCausalLM",
        "gemma3_text",
        GEMMA_DENSE,
        {
            "input_layernorm": "pre_attention_norm",
            "post_attention_layernorm": "post_attention_norm",
            "pre_feedforward_layernorm": "pre_ffw_norm",
            "post_feedforward_layernorm": "post_ffw_norm",
            "self_attn.q_norm": "attention.query_norm",
            "self_attn.k_norm": "attention.key_norm",
        },
        {**FIELDS, **HEAD_DIM, "sliding_window": "sliding_window_size"},
        {**GEMMA_CONSTANTS, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0},
    ),
    "GPT2Backbone": Family(
        "GPT2LMHeadModel",
        "gpt2",
        GPT2_DENSE,
        {"ln_1": "_self_attention_layer_norm", "ln_2": "_feedforward_layer_norm"},
        {
            "vocab_size": "vocabulary_size",
            "n_embd": "hidden_dim",
            "n_inner": "intermediate_dim",
            "n_layer": "num_layers",
            "n_head": "num_heads",
            "n_positions": "max_sequence_length",
        },
        {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
    ),
}


def find_family(network: keras.Model) -> Family:
    """Return the family of a preset's network.

    Raises:
        UsageProblem: nobody has written down how it is named.
    """
    name = type(network.backbone).__name__
    family = FAMILIES.get(name)
    if family is None or (family.model_type == "gemma" and network.backbone.use_post_ffw_norm):
        known = ", ".join(sorted({family.model_type for family in FAMILIES.values()}))
        raise UsageProblem(
            f"--format: {name} has no form of Hugging Face here; these have: {known}."
        )
    return family


def describe(network: keras.Model, context: int) -> dict[str, Any]:
    """Return ``config.json`` of a network, without the ids of tokens.

    Args:
        network: of a preset, or of ``networks/gpt.py``.
        context: tokens of the longest row that it was trained on.
    """
    if not isinstance(network, PresetNetwork):
        return _describe_own(network, context)
    family, backbone = find_family(network), network.backbone
    origin = network.read_origin()
    config: dict[str, Any] = {
        **_describe_positions(family, backbone, context),
        **origin,
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **{name: getattr(backbone, attribute) for name, attribute in family.fields.items()},
        **family.constants,
    }
    if family.model_type.startswith("gemma"):
        config["hidden_act"] = config["hidden_activation"]
    if family.model_type == "gemma":  # KerasHub counts both halves
        config["intermediate_size"] //= 2
    if "rope_parameters" in origin:  # that says the same, and more
        for name in ("rope_theta", "rope_local_base_freq"):
            config.pop(name, None)
    for name in ("torch_dtype", "quantization_config", "transformers_version", "_name_or_path"):
        config.pop(name, None)
    return {**config, "dtype": "float32", "torch_dtype": "float32"}


def _describe_positions(family: Family, backbone: keras.Model, context: int) -> dict[str, Any]:
    """Return fields that a preset in Hugging Face's form has in its own ``config.json``."""
    if family.model_type == "gpt2":
        return {}
    if family.model_type == "gemma3_text":
        layers = range(backbone.num_layers)
        kinds = ["sliding_attention" if i % 6 < 5 else "full_attention" for i in layers]
        if not backbone.use_sliding_window_attention:
            kinds = ["full_attention"] * len(kinds)
        scalar = backbone.head_dim
        if not backbone.query_head_dim_normalize:
            scalar = backbone.hidden_dim // backbone.num_query_heads
        factor = backbone.global_rope_scaling_factor
        scaling = {"rope_type": "linear", "factor": factor} if factor != 1 else None
        return {
            "max_position_embeddings": context,
            "layer_types": kinds,
            "query_pre_attn_scalar": scalar,
            "rope_scaling": scaling,
            "attn_logit_softcapping": backbone.attention_logit_soft_cap,
            "final_logit_softcapping": backbone.final_logit_soft_cap,
        }
    factor = getattr(backbone, "rope_frequency_adjustment_factor", None)
    if factor is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": backbone.rope_low_freq_factor,
            "high_freq_factor": backbone.rope_high_freq_factor,
            "original_max_position_embeddings": backbone.rope_pretraining_sequence_length,
        }
        return {"max_position_embeddings": context, "rope_scaling": scaling}
    return {"max_position_embeddings": context}


def read_tensors(network: keras.Model) -> Tensors:
    """Return the weights of a network by their names in Hugging Face's form, float32.

    Args:
        network: of a preset, without adapters, or of ``networks/gpt.py``.
    """
    if not isinstance(network, PresetNetwork):
        return _read_own(network)
    family, backbone = find_family(network), network.backbone
    if family.model_type == "gpt2":
        return _read_gpt2(family, backbone)
    embedding = backbone.token_embedding
    tensors = {
        "model.embed_tokens.weight": to_array(embedding.embeddings),
        "model.norm.weight": to_array(backbone.layer_norm.scale),
    }
    if not embedding.tie_weights:
        tensors["lm_head.weight"] = to_array(embedding.reverse_embeddings).T
    for number, block in enumerate(backbone.transformer_layers):
        prefix = f"model.layers.{number}"
        for name, (dense,) in find_dense(family, block):
            tensors[f"{prefix}.{name}.weight"] = kernel_matrix(dense).T
            if dense.bias is not None:
                tensors[f"{prefix}.{name}.bias"] = to_array(dense.bias).reshape(-1)
        for name, place in family.norms.items():
            tensors[f"{prefix}.{name}.weight"] = to_array(_find(block, place).scale)
    return _copy(tensors)


def find_dense(family: Family, block: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield each dense layer of a block: its name, and the layers of KerasHub beside each other."""
    for name, places in family.dense.items():
        yield name, [_find(block, place) for place in places.split()]


def _read_gpt2(family: Family, backbone: keras.Model) -> Tensors:
    tensors = {
        "transformer.wte.weight": to_array(backbone.token_embedding.embeddings),
        "transformer.wpe.weight": to_array(backbone.position_embedding.position_embeddings),
        "transformer.ln_f.weight": to_array(backbone.layer_norm.gamma),
        "transformer.ln_f.bias": to_array(backbone.layer_norm.beta),
    }
    for number, block in enumerate(backbone.transformer_layers):
        prefix = f"transformer.h.{number}"
        for name, parts in find_dense(family, block):  # GPT-2 keeps (inputs, outputs)
            tensors[f"{prefix}.{name}.weight"] = np.concatenate(
                [kernel_matrix(part) for part in parts], axis=1
            )
            tensors[f"{prefix}.{name}.bias"] = np.concatenate(
                [to_array(part.bias).reshape(-1) for part in parts]
            )
        for name, place in family.norms.items():
            tensors[f"{prefix}.{name}.weight"] = to_array(_find(block, place).gamma)
            tensors[f"{prefix}.{name}.bias"] = to_array(_find(block, place).beta)
    return _copy(tensors)


# === Networks of networks/gpt.py ===

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def _describe_own(network: keras.Model, context: int) -> dict[str, Any]:
    block = _find_blocks(network)[0]
    embeddings = network.get_layer(gpt.EMBEDDING).embeddings
    size, dim = embeddings.shape
    layers = len(_find_blocks(network))
    types = {"dtype": "float32", "torch_dtype": "float32", "tie_word_embeddings": True}
    if block.form == "gpt2":
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": size,
            "n_embd": dim,
            "n_inner": block.feedforward_up.kernel.shape[1],
            "n_layer": layers,
            "n_head": block.num_heads,
            "n_positions": network.get_layer(gpt.POSITIONS).embeddings.shape[0],
            "activation_function": ACTIVATIONS[block.activation],
            "layer_norm_epsilon": gpt.EPSILON,
            "resid_pdrop": block.dropout,
            "embd_pdrop": block.dropout,
            "attn_pdrop": block.attention_dropout,
            **types,
        }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size,
        "hidden_size": dim,
        "intermediate_size": block.feedforward_up.kernel.shape[1],
        "num_hidden_layers": layers,
        "num_attention_heads": block.num_heads,
        "num_key_value_heads": block.num_heads,
        "head_dim": block.head_dim,
        "max_position_embeddings": context,
        "rms_norm_eps": gpt.EPSILON,
        "rope_theta": gpt.ROTARY_BASE,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        **types,
    }


def _read_own(network: keras.Model) -> Tensors:
    blocks = _find_blocks(network)
    is_gpt2 = blocks[0].form == "gpt2"
    embeddings = to_array(network.get_layer(gpt.EMBEDDING).embeddings)
    norm = network.get_layer(gpt.NORM)
    if is_gpt2:
        tensors = {
            "transformer.wte.weight": embeddings,
            "transformer.wpe.weight": to_array(network.get_layer(gpt.POSITIONS).embeddings),
            "transformer.ln_f.weight": to_array(norm.gamma),
            "transformer.ln_f.bias": to_array(norm.beta),
        }
    else:
        tensors = {
            "model.embed_tokens.weight": embeddings,
            "model.norm.weight": to_array(norm.scale),
        }
    for number, block in enumerate(blocks):
        own = _read_gpt2_block(block) if is_gpt2 else _read_llama_block(block)
        prefix = f"transformer.h.{number}" if is_gpt2 else f"model.layers.{number}"
        tensors |= {f"{prefix}.{name}": value for name, value in own.items()}
    return _copy(tensors)


def _read_llama_block(block: Any) -> Tensors:
    query, key, value = _divide(block, block.query_key_value.kernel)
    return {
        "self_attn.q_proj.weight": query.T,
        "self_attn.k_proj.weight": key.T,
        "self_attn.v_proj.weight": value.T,
        "self_attn.o_proj.weight": to_array(block.attention_output.kernel).T,
        "mlp.gate_proj.weight": to_array(block.feedforward_gate.kernel).T,
        "mlp.up_proj.weight": to_array(block.feedforward_up.kernel).T,
        "mlp.down_proj.weight": to_array(block.feedforward_down.kernel).T,
        "input_layernorm.weight": to_array(block.attention_norm.scale),
        "post_attention_layernorm.weight": to_array(block.feedforward_norm.scale),
    }


def _read_gpt2_block(block: Any) -> Tensors:
    projection = block.query_key_value
    return {
        "attn.c_attn.weight": np.concatenate(_divide(block, projection.kernel), axis=-1),
        "attn.c_attn.bias": np.concatenate(_divide(block, projection.bias), axis=-1),
        "attn.c_proj.weight": to_array(block.attention_output.kernel),
        "attn.c_proj.bias": to_array(block.attention_output.bias),
        "mlp.c_fc.weight": to_array(block.feedforward_up.kernel),
        "mlp.c_fc.bias": to_array(block.feedforward_up.bias),
        "mlp.c_proj.weight": to_array(block.feedforward_down.kernel),
        "mlp.c_proj.bias": to_array(block.feedforward_down.bias),
        "ln_1.weight": to_array(block.attention_norm.gamma),
        "ln_1.bias": to_array(block.attention_norm.beta),
        "ln_2.weight": to_array(block.feedforward_norm.gamma),
        "ln_2.bias": to_array(block.feedforward_norm.beta),
    }


def _divide(block: gpt.Block, weights: Any) -> list[np.ndarray]:
    """Return those of the query, the key and the value, each (…, heads * head_dim).

    Args:
        weights: (…, heads * 3 * head_dim).
    """
    array = to_array(weights)
    leading = array.shape[:-1]
    array = array.reshape(*leading, block.num_heads, 3, block.head_dim)
    return [array[..., number, :].reshape(*leading, -1) for number in range(3)]


def _find_blocks(network: keras.Model) -> list[Any]:
    blocks: list[Any] = list(gpt.find_blocks(network))
    if not blocks:
        raise UsageProblem("--format: a network of one's own has no form of Hugging Face.")
    return blocks


# === Arrays ===


def _find(layer: Any, place: str) -> Any:
    return reduce(getattr, place.split("."), layer)


def to_array(weight: Any) -> np.ndarray:
    """Return a weight as an array of float32."""
    return np.asarray(keras.ops.convert_to_numpy(weight), "float32")


def _copy(tensors: Tensors) -> Tensors:
    """Return arrays as they lie in memory: safetensors writes views wrongly."""
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}
