"""Tiny presets with random weights, in the form in which Hugging Face keeps models.

``python -m tests.tiny_presets FOLDER [FAMILY]`` writes one.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HIDDEN, HEADS, KEY_HEADS, HEAD_DIM, INNER, LAYERS = 16, 4, 2, 4, 24, 2
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 256 + len(SPECIAL) + 1  # one row more than the tokeniser has tokens, as real ones do
END = 256  # id of <|endoftext|>, before the two others
CONTEXT = 64
# In brackets that do not look like those of the templates which this file was made from.
CHAT_TEMPLATE = (
    "[% for message in messages %][< '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' >][% endfor %][% if add_generation_prompt %]"
    "[< '<|im_start|>assistant\\n' >][% endif %]"
)
Weights = dict[str, np.ndarray]
Draw = Callable[..., np.ndarray]

LLAMA: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "head_dim": HEAD_DIM,
    "intermediate_size": INNER,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
GEMMA = {**LLAMA, "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh"}
# config.json of each family, besides what all have.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", LLAMA),
    "mistral": (
        "MistralForCausalLM",
        {**LLAMA, "tie_word_embeddings": False, "sliding_window": None},
    ),
    "qwen2": (
        "Qwen2ForCausalLM",
        {**LLAMA, "use_sliding_window": False, "sliding_window": CONTEXT},
    ),
    "qwen3": (
        "Qwen3ForCausalLM",
        {**LLAMA, "head_dim": 8, "use_sliding_window": False, "sliding_window": None},
    ),
    "gemma": ("GemmaForCausalLM", {**GEMMA, "rms_norm_eps": 1e-6}),
    "gemma3_text": (
        "Gemma3ForCausalLM",
        {
            **GEMMA,
            "num_hidden_layers": 6,
            "rms_norm_eps": 1e-6,
            "query_pre_attn_scalar": HEAD_DIM,
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10_000.0,
            "sliding_window": 8,
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
        },
    ),
    "gpt2": (
        "GPT2LMHeadModel",
        {
            "n_embd": HIDDEN,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_positions": CONTEXT,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": True,
        },
    ),
}


def write_preset(folder: Path, family: str = "qwen3", seed: int = 0, **changes: Any) -> Path:
    """Write a preset and return its folder.

    Args:
        folder: is made.
        family: of ``FAMILIES``.
        seed: of the weights.
        changes: of ``config.json``.
    """
    architecture, fields = FAMILIES[family]
    config = {
        "architectures": [architecture],
        "model_type": family,
        "vocab_size": VOCABULARY,
        "torch_dtype": "float32",
        "eos_token_id": END,
        **fields,
        **changes,
    }
    folder.mkdir(parents=True)
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": [END + 2, END]})
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": SPECIAL[2],
            "pad_token": SPECIAL[0],
            "chat_template": read_chat_template(),
        },
    )
    make_tokenizer().save(str(folder / "tokenizer.json"))
    random = np.random.default_rng(seed)

    def draw(*shape: int, mean: float = 0.0) -> np.ndarray:
        return (mean + random.normal(size=shape) * 0.2).astype("float32")

    weights = _gpt2(config, draw) if family == "gpt2" else _llama(config, draw)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def read_chat_template() -> str:
    """Return the template of chats in the presets."""
    template = CHAT_TEMPLATE
    for ours, theirs in (("[%", "{" + "%"), ("%]", "%" + "}"), ("[<", "{" * 2), (">]", "}" * 2)):
        template = template.replace(ours, theirs)
    return template


def make_tokenizer() -> Tokenizer:
    """Return a tokeniser with a token for each byte, and the special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    return tokenizer


def _llama(config: dict[str, Any], draw: Draw) -> Weights:
    family, hidden, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    head = config["head_dim"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    mean = 0.0 if family.startswith("gemma") else 1.0  # Gemma's norms multiply by 1 + weight
    weights = {
        "model.embed_tokens.weight": draw(config["vocab_size"], hidden),
        "model.norm.weight": draw(hidden, mean=mean),
    }
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = draw(config["vocab_size"], hidden)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if family == "gemma3_text":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for layer in range(config["num_hidden_layers"]):
        own = {
            "self_attn.q_proj.weight": draw(queries, hidden),
            "self_attn.k_proj.weight": draw(keys, hidden),
            "self_attn.v_proj.weight": draw(keys, hidden),
            "self_attn.o_proj.weight": draw(hidden, queries),
            "mlp.gate_proj.weight": draw(inner, hidden),
            "mlp.up_proj.weight": draw(inner, hidden),
            "mlp.down_proj.weight": draw(hidden, inner),
            **{f"{norm}.weight": draw(hidden, mean=mean) for norm in norms},
        }
        if family == "qwen2":
            own |= {
                "self_attn.q_proj.bias": draw(queries),
                "self_attn.k_proj.bias": draw(keys),
                "self_attn.v_proj.bias": draw(keys),
            }
        if family in ("qwen3", "gemma3_text"):
            own |= {
                "self_attn.q_norm.weight": draw(head, mean=mean),
                "self_attn.k_norm.weight": draw(head, mean=mean),
            }
        weights |= {f"model.layers.{layer}.{name}": value for name, value in own.items()}
    return weights


def _gpt2(config: dict[str, Any], draw: Draw) -> Weights:
    hidden = config["n_embd"]
    weights = {
        "wte.weight": draw(config["vocab_size"], hidden),
        "wpe.weight": draw(config["n_positions"], hidden),
        "ln_f.weight": draw(hidden, mean=1.0),
        "ln_f.bias": draw(hidden),
    }
    for layer in range(config["n_layer"]):
        own = {
            "attn.c_attn.weight": draw(hidden, 3 * hidden),
            "attn.c_attn.bias": draw(3 * hidden),
            "attn.c_proj.weight": draw(hidden, hidden),
            "attn.c_proj.bias": draw(hidden),
            "mlp.c_fc.weight": draw(hidden, 4 * hidden),
            "mlp.c_fc.bias": draw(4 * hidden),
            "mlp.c_proj.weight": draw(4 * hidden, hidden),
            "mlp.c_proj.bias": draw(hidden),
            "ln_1.weight": draw(hidden, mean=1.0),
            "ln_1.bias": draw(hidden),
            "ln_2.weight": draw(hidden, mean=1.0),
            "ln_2.bias": draw(hidden),
        }
        weights |= {f"h.{layer}.{name}": value for name, value in own.items()}
    return weights


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


if __name__ == "__main__":
    write_preset(Path(sys.argv[1]), *sys.argv[2:3])
