"""Pretrained encoders of KerasHub, such as BERT: tokeniser and network.

A preset is a name that KerasHub knows, a handle (``kaggle://``, ``hf://``) or a folder. Its
tokeniser is saved with the trained model, which then no longer needs the preset.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from ..config import Config
from ..engine.errors import ProjectError, UsageProblem
from ..engine.interfaces import Phase
from .hub import import_keras_hub

if TYPE_CHECKING:
    from ..preprocessing import Preprocessing

TOKENIZER = "preset"  # the value of data.tokenizer
BACKBONE = "backbone"
Tensor = Any  # of Keras' backend; Keras has no types
NUM_SPECIAL = 2  # start and end token of a text
EPOCHS, LEARNING_RATE = 4, 5e-5  # of fine-tuning, unless configured
# Low-rank adapters learn best at about ten times the rate of all weights (J. Schulman et al., LoRA
# Without Regret, 2025).
LORA_RATE_FACTOR = 10


def encode(tokens: Tensor, name: str, config: Config, preprocessing: Preprocessing) -> Tensor:
    """Encode texts with a preset, averaged over their tokens.

    Args:
        tokens: token ids (batch, tokens).
        name: of the preset.
        config: the configuration; ``model.tuning`` may add adapters.
        preprocessing: has the preset's tokeniser.

    Returns:
        Features (batch, hidden_dim).

    Raises:
        UsageProblem: texts may be longer than the preset takes.
    """
    with _explain_load_errors(name):
        backbone = import_keras_hub().models.Backbone.from_preset(name)
    limit = _sequence_limit(backbone)
    if preprocessing.sequence_length > limit:
        raise UsageProblem(
            f"data.sequence_length: {preprocessing.sequence_length} is more than the {limit} "
            f"tokens that {name!r} takes."
        )
    if config.model.tuning == "lora":
        backbone.enable_lora(config.model.lora_rank)
    special = _special_ids(deserialize_tokenizer(preprocessing.tokenizer_state))
    inputs = PresetInputs(**special, name="preset_inputs")(tokens)
    others = set(backbone.input) - set(inputs)  # such as segment_ids: a text is one segment
    inputs |= {name: ops.zeros_like(inputs["token_ids"]) for name in others}
    sequence = backbone.output
    if isinstance(sequence, dict):  # BERT's pooled output is not used
        sequence = sequence["sequence_output"]
    # (batch, tokens + NUM_SPECIAL, hidden_dim)
    sequence = keras.Model(backbone.input, sequence, name=BACKBONE)(inputs)
    mask = ops.expand_dims(ops.cast(inputs["padding_mask"], sequence.dtype), -1)
    return ops.sum(sequence * mask, axis=1) / ops.sum(mask, axis=1)


def tuning_phase(config: Config) -> Phase:
    """Return the phase that trains all weights, or the adapters and the head."""
    rate = LEARNING_RATE * LORA_RATE_FACTOR if config.model.tuning == "lora" else LEARNING_RATE
    train = config.train
    return Phase("fine-tuning", train.epochs or EPOCHS, train.learning_rate or rate)


def serialize_tokenizer(name: str) -> str:
    """Serialise a preset's tokeniser as JSON: its configuration and its files."""
    with _explain_load_errors(name):
        tokenizer = import_keras_hub().tokenizers.Tokenizer.from_preset(name)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        files = {
            path.name: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    config = keras.saving.serialize_keras_object(tokenizer)
    return json.dumps({"tokenizer": config, "files": files})


def deserialize_tokenizer(saved: str) -> Any:
    """Load the tokeniser that ``serialize_tokenizer`` saved; the file may come from a stranger.

    Raises:
        ValueError: it is no tokeniser of KerasHub, or a file's name leads to another folder.
    """
    content = json.loads(saved)
    classes, config = _tokenizer_classes(), content["tokenizer"]
    if config["class_name"] not in classes:
        raise ValueError(f"its tokeniser {config['class_name']!r} is not one of KerasHub.")
    for name in content["files"]:
        # Separators and drives of Windows too, which pathlib elsewhere takes for letters.
        if name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise ValueError(f"its tokeniser's file {name!r} is not a bare file name.")
    tokenizer = classes[config["class_name"]].from_config(config["config"])
    with tempfile.TemporaryDirectory() as folder:
        for name, data in content["files"].items():
            Path(folder, name).write_bytes(base64.b64decode(data))
        tokenizer.load_assets(folder)
    return tokenizer


def make_splitter(tokenizer: Any) -> Callable[[str], list[str]]:
    """Make a function from a text to the tokeniser's tokens."""
    vocabulary = tokenizer.get_vocabulary()
    return lambda text: [vocabulary[token_id] for token_id in tokenizer(text)]


def max_sequence_length(name: str) -> int:
    """Return the number of tokens of the longest text that a preset takes."""
    with _explain_load_errors(name):
        backbone = import_keras_hub().models.Backbone.from_preset(name, load_weights=False)
    return _sequence_limit(backbone)


def _sequence_limit(backbone: keras.Model) -> int:
    return getattr(backbone, "max_sequence_length", 2**20) - NUM_SPECIAL


@keras.saving.register_keras_serializable(__package__)
class PresetInputs(layers.Layer):
    """Turn token ids (batch, tokens) into the inputs of a preset's network.

    These are ``token_ids`` and ``padding_mask`` (batch, tokens + 2) int32, with the preset's ids
    and a start and an end token around each text.

    Args:
        start: id of the start token.
        end: id of the end token.
        padding: id of padding.
        unknown: id of unknown and dropped tokens.
    """

    def __init__(self, start: int, end: int, padding: int, unknown: int, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.end, self.padding, self.unknown = start, end, padding, unknown

    def call(self, tokens: Tensor) -> dict[str, Tensor]:
        length = ops.sum(ops.cast(tokens > 0, "int32"), axis=1, keepdims=True)  # (batch, 1)
        # Ours are the preset's ids plus 2, after 0 for padding and 1 for unknown tokens.
        ids = ops.where(tokens > 1, tokens - 2, self.unknown)
        ids = ops.pad(ids, [[0, 0], [1, 1]], constant_values=self.start)
        # (1, tokens + 2): the start token is at 0, the end token behind the last token.
        position = ops.expand_dims(ops.arange(ops.shape(ids)[1], dtype="int32"), 0)
        ids = ops.where(position == length + 1, self.end, ids)
        inside = position <= length + 1
        ids = ops.where(inside, ids, self.padding)
        return {"token_ids": ids, "padding_mask": ops.cast(inside, "int32")}

    def compute_output_spec(self, tokens: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        length = None if tokens.shape[1] is None else tokens.shape[1] + NUM_SPECIAL
        names = ("token_ids", "padding_mask")
        return {name: keras.KerasTensor((tokens.shape[0], length), "int32") for name in names}

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("start", "end", "padding", "unknown")}
        return {**super().get_config(), **own}


def freeze(network: keras.Model) -> None:
    """Freeze the encoder, so that only the head is trained."""
    network.get_layer(BACKBONE).trainable = False


def _special_ids(tokenizer: Any) -> dict[str, int]:
    def first_id(*names: str) -> int:
        ids = (getattr(tokenizer, f"{name}_token_id", None) for name in names)
        return next((token_id for token_id in ids if token_id is not None), 0)

    return {
        "start": first_id("start", "cls"),
        "end": first_id("end", "sep"),
        "padding": first_id("pad"),
        "unknown": first_id("mask", "unk"),
    }


def _tokenizer_classes() -> dict[str, Any]:
    """Return KerasHub's tokenisers by the names of their classes."""
    module = import_keras_hub().tokenizers
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, module.Tokenizer)
    }


@contextmanager
def _explain_load_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:  # network errors are OSErrors
        reason = str(error).splitlines()[0][:200]
        raise ProjectError(f"model.preset: {name!r} cannot be loaded: {reason}") from error
