"""``export --format huggingface``: a folder that ``transformers``, vLLM and llama.cpp read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
from safetensors.numpy import save_file

from ..datasets import chats
from ..engine.errors import ProjectError
from ..engine.export.formats import Export, Written
from ..engine.export.source import make_source
from ..networks import presets
from ..objective import find_plain_network
from . import check, families, readme


def write(export: Export, folder: Path) -> Written:
    """Write a model, adapters merged into its weights, and compare it with the trained one.

    Args:
        export: the trained model.
        folder: to write to; it is empty.

    Raises:
        UsageProblem: the network or its tokens have no form of Hugging Face.
        ProjectError: the written model differs, or nothing that could load it is installed.
    """
    preprocessing = export.model.preprocessing
    tokenizer = preprocessing.tokenizer
    network = make_plain(export)
    config = families.describe(network, preprocessing.context)
    tensors = families.read_tensors(network)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_huggingface(folder)
    ids = _read_ids(folder, tokenizer)
    write_json(folder / "config.json", {**config, **ids})
    stops = {"eos_token_id": list(tokenizer.stop_ids)}
    write_json(folder / "generation_config.json", {**ids, **stops})
    template = find_chat_template(preprocessing)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    trained = find_plain_network(export.model.network)
    comparison = compare(folder, trained if is_float32(trained) else network, preprocessing)
    comparison.check()
    note = find_note(comparison)
    lines = [comparison.describe(), *([note] if note else [])]
    text = readme.describe_folder(export, config, comparison, lines[1:], template is not None)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return Written(asdict(comparison), lines)


def make_plain(export: Export) -> keras.Model:
    """Return the network in float32, without what only training needs.

    Args:
        export: the trained model; it is not changed.
    """
    network = find_plain_network(export.model.network)
    if isinstance(network, presets.PresetNetwork):
        return presets.merge(network)
    return make_source(export.model).model.network


def is_float32(network: keras.Model) -> bool:
    """Return whether no layer of a network computes in half precision."""
    return {layer.compute_dtype for layer in network._flatten_layers()} == {"float32"}


def compare(folder: Path, network: keras.Model, preprocessing: Any) -> check.Comparison:
    """Compare a written folder with a network, by ``transformers`` or else by KerasHub.

    Args:
        folder: of the exported model.
        network: the trained one; if that computes in half precision, a copy in float32.
        preprocessing: of the model.

    Raises:
        ProjectError: neither is installed, or texts become other tokens.
    """
    tokenizer = preprocessing.tokenizer
    tokens = check.draw_tokens(tokenizer.size, preprocessing.context)
    expected = check.compute_logits(network, tokens)
    python = check.find_python()
    if python is None:
        loaded = check.load_with_keras_hub(folder)
        return check.compare("KerasHub", expected, check.compute_logits(loaded, tokens))
    messages = check.MESSAGES if find_chat_template(preprocessing) else None
    found = check.run_transformers(python, folder, tokens, check.TEXTS, messages)
    if found.ids != [tokenizer.encode(text) for text in check.TEXTS]:
        raise ProjectError(
            f"the tokeniser, loaded by {found.loader}, makes other tokens of texts. Nothing was "
            "kept."
        )
    if messages and found.chat != chats.render_prompt(preprocessing, list(messages)):
        raise ProjectError(
            f"the chat template, rendered by {found.loader}, makes other tokens of a chat. "
            "Nothing was kept."
        )
    return check.compare(found.loader, expected, found.logits)


def find_note(comparison: check.Comparison, wanted: str = "transformers") -> str | None:
    """Return what a comparison leaves open, or None.

    Args:
        comparison: with the trained model.
        wanted: the libraries that would have been better.
    """
    if comparison.loader.startswith("transformers"):
        return None
    return f"Not loaded by {wanted}, which would need: pip install -e '.[transformers]'."


def find_chat_template(preprocessing: Any) -> str | None:
    """Return the template of chats in Jinja; None: the model continues texts."""
    if preprocessing.kind == "text" and not preprocessing.tokenizer.chat_template:
        return None
    return str(chats.make_template(preprocessing).source)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_ids(folder: Path, tokenizer: Any) -> dict[str, int | None]:
    """Return ids of special tokens as the tokeniser's file in the folder names them."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    padding = tokenizer.special_tokens.get(config.get("pad_token"), tokenizer.end_id)
    return {
        "bos_token_id": tokenizer.start_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": padding,
    }
