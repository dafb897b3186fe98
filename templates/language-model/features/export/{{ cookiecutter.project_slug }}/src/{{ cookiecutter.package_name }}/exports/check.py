"""A written folder, loaded by another library, beside the trained model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..engine.errors import ProjectError
from ..networks import presets

TOLERANCE = 1e-4  # largest difference of logits, float32
ROWS, TOKENS = 3, 48  # that are compared
SECONDS = 1_800  # that another process may take
# Neither special tokens nor spaces that tokenisers normalise.
TEXTS = ("Hello, world!", "def f(x):\n    return x + 1\n", "Zwölf größere Häuser", "语言模型")
MESSAGES = ({"role": "user", "content": "Hello, world!"},)


@dataclass(frozen=True)
class Comparison:
    """How far logits of the written model are from those of the trained one.

    Attributes:
        loader: library that has loaded the written one.
        difference: the largest one.
        largest: the largest logit, as an absolute value.
        tokens: that were compared.
    """

    loader: str
    difference: float
    largest: float
    tokens: int

    def check(self) -> None:
        """Refuse a model that differs.

        Raises:
            ProjectError: it does.
        """
        if not self.difference <= TOLERANCE:
            raise ProjectError(
                f"logits of the exported model, loaded by {self.loader}, differ by up to "
                f"{self.difference:.3g}; allowed: {TOLERANCE:g}. Nothing was kept."
            )

    def describe(self) -> str:
        """Return it as a sentence."""
        return (
            f"Loaded by {self.loader}, logits of {self.tokens} tokens differ by up to "
            f"{self.difference:.2g} from those of the trained model; the largest is "
            f"{self.largest:.3g}."
        )


def draw_tokens(size: int, context: int) -> np.ndarray:
    """Return ids (rows, time) int32, always the same ones.

    Args:
        size: of the vocabulary.
        context: length of the longest row.
    """
    return np.random.default_rng(0).integers(0, size, (ROWS, min(TOKENS, context)), "int32")


def compute_logits(network: keras.Model, tokens: np.ndarray) -> np.ndarray:
    """Return logits (rows, time, vocabulary) of a network of this project.

    Args:
        network: with ``tokens`` and ``segments`` as inputs.
        tokens: (rows, time) ids, each row one segment.
    """
    inputs = {"tokens": tokens, "segments": np.ones_like(tokens)}
    return np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False)))


def compare(loader: str, expected: np.ndarray, found: np.ndarray) -> Comparison:
    """Compare logits (rows, time, vocabulary) of the trained model and of the written one."""
    if expected.shape != found.shape:
        raise ProjectError(
            f"the exported model, loaded by {loader}, has logits {found.shape}, not "
            f"{expected.shape}. Nothing was kept."
        )
    difference = np.abs(found.astype("float64") - expected)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Comparison(
        loader, largest, float(np.abs(expected).max()), int(np.prod(expected.shape[:2]))
    )


# === The other libraries ===


def find_python(*modules: str) -> str | None:
    """Return the Python that has ``transformers`` and other modules; None: this one lacks them."""
    wanted = ("torch", "transformers", *modules)
    return None if any(find_spec(name) is None for name in wanted) else sys.executable


@dataclass(frozen=True)
class Loaded:
    """What ``reload.py`` answers.

    Attributes:
        loader: name and version of the library.
        logits: (rows, time, vocabulary).
        ids: of each text.
        chat: ids of the chat, or None.
    """

    loader: str
    logits: np.ndarray
    ids: list[list[int]]
    chat: list[int] | None


def run_transformers(
    python: str,
    folder: Path,
    tokens: np.ndarray,
    texts: Sequence[str] = (),
    messages: Sequence[dict[str, Any]] | None = None,
    adapter: Path | None = None,
) -> Loaded:
    """Load a folder with ``transformers`` in a process of its own.

    Args:
        python: that has it.
        folder: in Hugging Face's form.
        tokens: (rows, time) ids.
        texts: are tokenised; none: the folder's tokeniser is not loaded.
        messages: of a chat, which is rendered too.
        adapter: a folder that PEFT puts on top.

    Raises:
        ProjectError: it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        request, result = Path(place, "request.json"), Path(place, "result.json")
        content = {
            "folder": str(folder.resolve()),
            "adapter": str(adapter.resolve()) if adapter else None,
            "tokens": tokens.tolist(),
            "texts": list(texts),
            "messages": list(messages) if messages else None,
        }
        request.write_text(json.dumps(content), encoding="utf-8")
        script = Path(__file__).with_name("reload.py")
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "USE_TF": "0"}
        ended = subprocess.run(
            [python, "-P", str(script), str(request), str(result)],
            env={**os.environ, **offline},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if ended.returncode or not result.is_file():
            lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            raise ProjectError(f"transformers does not load the exported model: {lines[-1][:200]}")
        answer = json.loads(result.read_text(encoding="utf-8"))
        logits = np.load(result.with_name("logits.npy"))
    return Loaded(answer["library"], logits, answer["ids"], answer["chat"])


def load_with_keras_hub(folder: Path) -> keras.Model:
    """Return the network of a folder as KerasHub reads it, which has not written it.

    Raises:
        ProjectError: KerasHub is not installed, or does not load it.
    """
    backbone = presets.read_backbone(folder)
    if presets.read_json(folder, "config.json").get("activation_function") == "gelu":
        for block in backbone.transformer_layers:  # KerasHub's GPT-2 has the approximation
            block._feedforward_intermediate_dense.activation = keras.activations.gelu
    return presets.PresetNetwork(backbone)
