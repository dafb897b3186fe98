"""Pretrained encoders of KerasHub, such as BERT: their tokeniser, and the network itself.

A preset is a name that KerasHub knows, a handle (``kaggle://``, ``hf://``) or a folder. What of its
tokeniser is needed to predict is saved with the model, which then needs the preset no more.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from ..config import Config
from ..datasets.downloads import needs_extra
from ..engine.errors import ProjectError, UsageProblem
from ..engine.interfaces import Phase

if TYPE_CHECKING:
    from ..preprocessing import Preprocessing

KIND = "preset"  # of tokens: those of the preset
BACKBONE = "backbone"
SPECIAL = 2  # tokens that are put around a text
EPOCHS, RATE = 4, 5e-5  # of tuning, where the configuration says nothing else
# Low-rank adapters learn best at about ten times the rate of all weights (J. Schulman et al., LoRA
# Without Regret, 2025).
ADAPTERS_FASTER = 10


def encoded(tokens: Any, name: str, config: Config, preprocessing: Preprocessing) -> Any:
    """Token numbers (batch, tokens) -> the mean of what a preset says of them (batch, width).

    Raises:
        UsageProblem: texts may be longer than it takes.
    """
    with _loading(name):
        backbone = _hub().models.Backbone.from_preset(name)
    if preprocessing.max_tokens > longest(backbone):
        raise UsageProblem(
            f"data.max_tokens: {preprocessing.max_tokens} is more than the {longest(backbone)} "
            f"tokens that {name!r} takes."
        )
    if config.model.tuning == "lora":
        backbone.enable_lora(config.model.lora_rank)
    marks = _marks(tokenizer(preprocessing.learnt))
    given = PresetInputs(**marks, name="preset_inputs")(tokens)
    others = set(backbone.input) - set(given)  # such as the numbers of segments: there is one
    given |= {name: ops.zeros_like(given["token_ids"]) for name in others}
    said = backbone.output
    if isinstance(said, dict):  # beside the sequence BERT gives a summary, which nothing here uses
        said = said["sequence_output"]
    said = keras.Model(backbone.input, said, name=BACKBONE)(given)
    mask = ops.expand_dims(ops.cast(given["padding_mask"], said.dtype), -1)
    return ops.sum(said * mask, axis=1) / ops.sum(mask, axis=1)


def tuning_phase(config: Config) -> Phase:
    """All weights, or adapters and the head, as long and as fast as suits them."""
    rate = RATE * ADAPTERS_FASTER if config.model.tuning == "lora" else RATE
    train = config.train
    return Phase("fine-tuning", train.epochs or EPOCHS, train.learning_rate or rate)


def learnt(name: str) -> str:
    """All that the preset's tokeniser needs, as JSON: how it is made, and its files."""
    with _loading(name):
        tokeniser = _hub().tokenizers.Tokenizer.from_preset(name)
    with tempfile.TemporaryDirectory() as folder:
        tokeniser.save_assets(folder)
        files = {
            path.name: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    made = keras.saving.serialize_keras_object(tokeniser)
    return json.dumps({"tokenizer": made, "files": files})


def tokenizer(saved: str) -> Any:
    """The tokeniser that ``learnt`` gave, from a model file that need not be one's own.

    Raises:
        ValueError: it is no tokeniser of KerasHub, or a file's name leads to another folder.
    """
    content = json.loads(saved)
    kinds, made = _tokenizers(), content["tokenizer"]
    if made["class_name"] not in kinds:
        raise ValueError(f"its tokeniser {made['class_name']!r} is none of KerasHub.")
    for name in content["files"]:
        # Of Windows too, whose separators and drives other systems take for letters.
        if name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise ValueError(f"its tokeniser's file {name!r} is no bare name.")
    tokeniser = kinds[made["class_name"]].from_config(made["config"])
    with tempfile.TemporaryDirectory() as folder:
        for name, data in content["files"].items():
            Path(folder, name).write_bytes(base64.b64decode(data))
        tokeniser.load_assets(folder)
    return tokeniser


def split(tokeniser: Any) -> Callable[[str], list[str]]:
    """A function that divides a text as the tokeniser does."""
    known = tokeniser.get_vocabulary()
    return lambda text: [known[number] for number in tokeniser(text)]


def most_tokens(name: str) -> int:
    """Tokens of the longest text that the preset takes."""
    with _loading(name):
        return longest(_hub().models.Backbone.from_preset(name, load_weights=False))


def longest(backbone: keras.Model) -> int:
    """The same of the network."""
    return getattr(backbone, "max_sequence_length", 2**20) - SPECIAL


@keras.saving.register_keras_serializable(__package__)
class PresetInputs(layers.Layer):
    """Token numbers (batch, tokens) -> ``token_ids`` and ``padding_mask`` (batch, tokens + 2), with
    the preset's own numbers and a token at the beginning and at the end of each text.

    Args:
        unknown: number for what is not known or covered.
    """

    def __init__(self, start: int, end: int, padding: int, unknown: int, **options) -> None:
        super().__init__(**options)
        self.start, self.end, self.padding, self.unknown = start, end, padding, unknown

    def call(self, tokens):
        length = ops.sum(ops.cast(tokens > 0, "int32"), axis=1, keepdims=True)
        ids = ops.where(tokens > 1, tokens - 2, self.unknown)
        ids = ops.pad(ids, [[0, 0], [1, 1]], constant_values=self.start)
        place = ops.expand_dims(ops.arange(ops.shape(ids)[1], dtype="int32"), 0)
        ids = ops.where(place == length + 1, self.end, ids)
        inside = place <= length + 1
        ids = ops.where(inside, ids, self.padding)
        return {"token_ids": ids, "padding_mask": ops.cast(inside, "int32")}

    def compute_output_spec(self, tokens):
        length = None if tokens.shape[1] is None else tokens.shape[1] + SPECIAL
        made = keras.KerasTensor((tokens.shape[0], length), "int32")
        return {
            "token_ids": made,
            "padding_mask": keras.KerasTensor((tokens.shape[0], length), "int32"),
        }

    def get_config(self):
        own = {name: getattr(self, name) for name in ("start", "end", "padding", "unknown")}
        return {**super().get_config(), **own}


def freeze(core: keras.Model) -> None:
    """Leave the encoder as it is; the head alone is trained."""
    core.get_layer(BACKBONE).trainable = False


def _marks(tokeniser: Any) -> dict[str, int]:
    def number(*names: str) -> int:
        found = (getattr(tokeniser, f"{name}_token_id", None) for name in names)
        return next((value for value in found if value is not None), 0)

    return {
        "start": number("start", "cls"),
        "end": number("end", "sep"),
        "padding": number("pad"),
        "unknown": number("mask", "unk"),
    }


def _tokenizers() -> dict[str, type]:
    """All tokenisers that KerasHub publishes, by the names of their classes."""
    known = _hub().tokenizers
    return {
        name: kind
        for name, kind in vars(known).items()
        if isinstance(kind, type) and issubclass(kind, known.Tokenizer)
    }


def _hub() -> Any:
    try:
        import keras_hub
    except ImportError:
        raise needs_extra("presets", "model.name") from None
    return keras_hub


@contextmanager
def _loading(name: str):
    try:
        yield
    except (OSError, ValueError, KeyError) as error:  # network errors are OSErrors
        reason = str(error).splitlines()[0][:200]
        raise ProjectError(f"model.preset: {name!r} cannot be loaded: {reason}") from error
