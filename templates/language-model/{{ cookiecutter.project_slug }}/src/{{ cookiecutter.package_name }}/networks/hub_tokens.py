"""Tokens of presets in KerasHub's own form, read from a copy of their files."""

import base64
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.errors import DataProblem, UsageProblem
from ..tokens import (
    KERAS_HUB,
    MARK,
    Tokenizer,
    bytes_of_letters,
    bytes_of_piece,
    protect,
    unprotect,
)
from .hub import import_keras_hub


def read_keras_hub(folder: Path) -> Tokenizer:
    """Read the tokens of a preset's folder.

    Raises:
        DataProblem: they cannot be read.
    """
    import keras

    hub = import_keras_hub()
    try:
        tokenizer = hub.tokenizers.Tokenizer.from_preset(str(folder))
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise DataProblem(f"its tokens cannot be read: {reason}") from None
    with tempfile.TemporaryDirectory() as copy:
        tokenizer.save_assets(copy)
        files = {
            path.name: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(copy).iterdir())
        }
    config = keras.saving.serialize_keras_object(tokenizer)
    return KerasHubTokenizer(KERAS_HUB, json.dumps({"tokenizer": config, "files": files}), {})


class KerasHubTokenizer(Tokenizer):
    """Tokens of a preset in KerasHub's own form, read from a copy of its files."""

    def _load(self) -> None:
        self._hub = _load(self.source)
        vocabulary = self._hub.get_vocabulary()
        self.size = self._hub.vocabulary_size()
        self._texts = dict(enumerate(vocabulary))
        if isinstance(vocabulary, dict):
            self._texts = {i: text for text, i in vocabulary.items()}
        self._added: dict[int, str] = {}
        self._ids = {text: i for i, text in self._texts.items()}
        names = {
            text
            for name in ("start_token", "end_token", "pad_token")
            if isinstance(text := getattr(self._hub, name, None), str)
        }
        names |= {text for text in getattr(self._hub, "special_tokens", ()) or () if text}
        looks_special = re.compile(r"<\|.*\|>|<(start|end)_of_turn>|<(s|/s|bos|eos|pad|unk)>")
        names |= {text for text in self._ids if looks_special.fullmatch(text)}
        found = {text: self._ids[text] for text in names if text in self._ids}
        self.special_tokens = dict(sorted(found.items(), key=lambda item: item[1]))
        end = getattr(self._hub, "end_token", None)
        start = getattr(self._hub, "start_token", None)
        # GPT-2's start token is its end token, which it writes between texts too.
        self.settings = {"start": start, "end": end, **self.settings}

    def _find_id(self, text: str) -> int | None:
        return self._ids.get(text)

    def encode(self, text: str) -> list[int]:
        # The library knows special tokens inside texts, so those are cut into two halves.
        marked = protect(text, self.special_tokens)
        parts = [part for part in marked.split(MARK) if part]
        return [int(i) for part in parts for i in np.asarray(self._hub.tokenize(part))]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def encode_prompt(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._special_pattern.split(text):
            if part in self.special_tokens:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self.encode(unprotect(part))
        return ids

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        pieces, run = [], list[int]()
        for token_id in (int(i) for i in ids if 0 <= i < self.size):
            if token_id not in self.special_ids:
                run.append(token_id)
                continue
            pieces.append(self._decode_run(run))
            run = []
            pieces.append("" if skip_special else self._texts[token_id])
        return "".join([*pieces, self._decode_run(run)])

    def _decode_run(self, ids: list[int]) -> str:
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def _make_converter(self) -> Any:
        if hasattr(self._hub, "merges"):
            return bytes_of_letters
        return lambda text: bytes_of_piece(text, spaces=True)

    def save_huggingface(self, folder: Path) -> None:
        """Refuse: these files are KerasHub's.

        Raises:
            UsageProblem: always.
        """
        raise UsageProblem("the tokens of this preset are in KerasHub's form, not Hugging Face's.")


def _load(source: str) -> Any:
    """Load KerasHub's tokenizer from a copy of its files, which may come from a stranger."""
    module = import_keras_hub().tokenizers
    classes: dict[str, Any] = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, module.Tokenizer)
    }
    content = json.loads(source)
    config = content["tokenizer"]
    if config["class_name"] not in classes:
        raise DataProblem(f"its tokenizer {config['class_name']!r} is not one of KerasHub.")
    for name in content["files"]:
        # Separators and drives of Windows too, which pathlib elsewhere takes for letters.
        if name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise DataProblem(f"its tokenizer's file {name!r} is not a bare file name.")
    tokenizer = classes[config["class_name"]].from_config(config["config"])
    with tempfile.TemporaryDirectory() as folder:
        for name, data in content["files"].items():
            Path(folder, name).write_bytes(base64.b64decode(data))
        tokenizer.load_assets(folder)
    return tokenizer
