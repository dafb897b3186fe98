"""``export --format adapter``: what ``model.tuning`` lora or qlora has learnt, as PEFT reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ..engine.errors import ProjectError, UsageProblem
from ..engine.export.formats import Export, Written
from ..networks import presets
from ..networks.tuning import AdaptedDense, KernelShape, find_adapted
from ..objective import find_plain_network
from . import check, families, readme
from .huggingface import find_note, write_json

PREFIX = "base_model.model."
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write(export: Export, folder: Path) -> Written:
    """Write the adapters of a model, put them on the preset anew, and compare.

    Args:
        export: the trained model.
        folder: to write to; it is empty.

    Raises:
        UsageProblem: the model has no adapters.
        ProjectError: the preset is gone or another one, or the result differs.
    """
    network = find_plain_network(export.model.network)
    if not isinstance(network, presets.PresetNetwork) or network.tuning is None:
        raise UsageProblem(
            "--format adapter: this model has none, as model.tuning was full; use --format "
            "huggingface."
        )
    preset = presets.find_preset(export.config)
    base_folder = presets.find_folder(preset)
    reference = load_base(network, base_folder)
    save_file(read_adapters(network), folder / WEIGHTS, {"format": "pt"})
    write_json(folder / CONFIG, describe(network, preset))
    comparison = compare(folder, network, reference, base_folder, export.model.preprocessing)
    comparison.check()
    lines = [comparison.describe()]
    if network.tuning.quantization:
        lines.append(
            f"Compared on the preset itself; the adapters were trained on one rounded to "
            f"{network.tuning.quantization}, from which it differs a little."
        )
    note = find_note(comparison, "transformers and PEFT")
    lines += [note] if note else []
    text = readme.describe_adapter(export, preset, lines)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return Written(asdict(comparison), lines)


def load_base(network: presets.PresetNetwork, folder: Path) -> presets.PresetNetwork:
    """Return the preset in float32 with new adapters, which add nothing.

    Args:
        network: the trained one.
        folder: of its preset.

    Raises:
        ProjectError: the preset is not the one that the adapters were trained on.
    """
    assert network.tuning is not None
    rounded = presets.PresetNetwork(presets.read_backbone(folder), network.tuning)
    own = {weight.path: weight for weight in network.weights if not weight.trainable}
    others = {weight.path: weight for weight in rounded.weights if not weight.trainable}
    if own.keys() != others.keys() or not all(
        weight.shape == others[path].shape and _are_close(weight, others[path])
        for path, weight in own.items()
    ):
        raise ProjectError(
            f"model.preset: {str(folder)!r} holds another network than the adapters were trained "
            "on."
        )
    if network.tuning.quantization is None:
        return rounded
    tuning = replace(network.tuning, quantization=None)
    return presets.PresetNetwork(presets.read_backbone(folder), tuning)


def compare(
    folder: Path,
    network: presets.PresetNetwork,
    reference: presets.PresetNetwork,
    base_folder: Path,
    preprocessing: Any,
) -> check.Comparison:
    """Compare written adapters on the preset with the trained ones on it.

    Args:
        folder: of the adapters.
        network: the trained one.
        reference: the preset with new adapters, which are set.
        base_folder: of the preset.
        preprocessing: of the model.
    """
    tokens = check.draw_tokens(preprocessing.tokenizer.size, preprocessing.context)
    for own, other in zip(find_trained(network), find_trained(reference), strict=True):
        other.lora_a.assign(own.lora_a)
        other.lora_b.assign(own.lora_b)
    expected = check.compute_logits(reference, tokens)
    python = check.find_python("peft")
    if python is not None and presets.is_huggingface(base_folder):
        found = check.run_transformers(python, base_folder, tokens, adapter=folder)
        return check.compare(found.loader, expected, found.logits)
    for layer in find_trained(reference):
        layer.lora_b.assign(np.zeros(layer.lora_b.shape, "float32"))
    load_adapters(reference, folder)
    return check.compare("this project", expected, check.compute_logits(reference, tokens))


def find_trained(network: presets.PresetNetwork) -> list[AdaptedDense]:
    """Return the layers with adapters, in the network's order."""
    return [layer for layer in find_adapted(network) if layer.rank]


# === Weights ===


def read_adapters(network: presets.PresetNetwork) -> families.Tensors:
    """Return the adapters of a network by the names that PEFT gives them, float32."""
    tensors: families.Tensors = {}
    for module, parts in _list_modules(network):
        adapters = [
            (families.to_array(part.lora_a), families.to_array(part.lora_b))
            for part in parts
            if part.rank
        ]
        ends = np.cumsum([part.shape.outputs for part in parts])
        second = np.zeros((ends[-1], sum(a.shape[1] for a, _ in adapters)), "float32")
        column = 0
        for part, end in zip(parts, ends, strict=True):
            if part.rank:
                rows = slice(end - part.shape.outputs, end)
                second[rows, column : column + part.rank] = families.to_array(part.lora_b).T
                column += part.rank
        first = np.concatenate([a.T for a, _ in adapters])
        tensors[f"{PREFIX}{module}.lora_A.weight"] = np.ascontiguousarray(first)
        tensors[f"{PREFIX}{module}.lora_B.weight"] = second
    return tensors


def load_adapters(network: presets.PresetNetwork, folder: Path) -> None:
    """Set the adapters of a network to those of a folder.

    Args:
        network: with adapters of the same layers and ranks.
        folder: that ``write`` has written.

    Raises:
        ProjectError: they belong to another network.
    """
    tensors = load_file(folder / WEIGHTS)
    expected = {name: value.shape for name, value in read_adapters(network).items()}
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise ProjectError(f"{str(folder)!r} holds adapters of another network.")
    for module, parts in _list_modules(network):
        first = tensors[f"{PREFIX}{module}.lora_A.weight"]
        second = tensors[f"{PREFIX}{module}.lora_B.weight"]
        column, end = 0, 0
        for part in parts:
            end += part.shape.outputs
            if part.rank:
                columns = slice(column, column + part.rank)
                part.lora_a.assign(first[columns].T)
                part.lora_b.assign(second[end - part.shape.outputs : end, columns].T)
                column += part.rank


def describe(network: presets.PresetNetwork, preset: str) -> dict[str, Any]:
    """Return ``adapter_config.json``.

    Args:
        network: with adapters.
        preset: that they belong to.
    """
    tuning = network.tuning
    assert tuning is not None
    # Layers that lie beside each other in one (GPT-2) have all their ranks together.
    ranks = {
        ".".join(module.split(".")[-2:]): sum(part.rank for part in parts)
        for module, parts in _list_modules(network)
    }
    larger = {name: rank for name, rank in ranks.items() if rank != tuning.rank}
    is_gpt2 = families.find_family(network).model_type == "gpt2"
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name_base(preset),
        "r": tuning.rank,
        "lora_alpha": tuning.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(ranks),
        "rank_pattern": larger,
        "alpha_pattern": {name: tuning.alpha * rank / tuning.rank for name, rank in larger.items()},
        "fan_in_fan_out": is_gpt2,
        "inference_mode": True,
        "modules_to_save": None,
    }


def name_base(preset: str) -> str:
    """Return a preset's name as Hugging Face's libraries take it."""
    if "://" in preset:
        return preset.removeprefix("hf://")
    folder = Path(preset).expanduser()
    return str(folder.resolve()) if folder.is_dir() else preset


def _list_modules(
    network: presets.PresetNetwork,
) -> Iterator[tuple[str, list[AdaptedDense]]]:
    """Yield each module of Hugging Face's network that has an adapter, and its layers."""
    family = families.find_family(network)
    place = "transformer.h" if family.model_type == "gpt2" else "model.layers"
    for number, block in enumerate(network.backbone.transformer_layers):
        for name, layers in families.find_dense(family, block):
            parts = [_as_adapter(layer) for layer in layers]
            if any(part.rank for part in parts):
                yield f"{place}.{number}.{name}", parts


def _as_adapter(layer: Any) -> Any:
    """Return a layer with adapter, or what says that there is none."""
    return layer if isinstance(layer, AdaptedDense) else _Plain(layer)


class _Plain:
    """A dense layer without an adapter."""

    rank = 0

    def __init__(self, dense: Any) -> None:
        self.shape = KernelShape.of(dense)


def _are_close(first: Any, second: Any) -> bool:
    """Return whether weights are the same, up to half precision."""
    return bool(
        np.allclose(families.to_array(first), families.to_array(second), rtol=1e-2, atol=1e-3)
    )
