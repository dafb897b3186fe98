"""From a text to tokens and back: characters, bytes, learnt subwords, or those of a preset.

Our own kinds are made with the library ``tokenizers``, so that their state is an ordinary
``tokenizer.json``, which Hugging Face's libraries read too.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .engine.errors import DataProblem, UsageProblem
from .engine.files import write_json, write_text

# Ids 0 to 4 of our own kinds, also where nothing but texts are learnt: so a model of texts can
# later learn to answer. The first one ends a text or an answer, begins a text, and is padding.
SPECIAL_TOKENS = ("<end>", "<system>", "<user>", "<assistant>", "<tool>")
END = SPECIAL_TOKENS[0]
NUM_BYTES = 256
SMALLEST = len(SPECIAL_TOKENS) + NUM_BYTES  # ids of a vocabulary that can express any text
PRESET, KERAS_HUB = "preset", "keras_hub"  # kinds that come with a preset
MARK = "\ue0ff"  # of a private area of Unicode: no text has it; see ``protect``
MAX_TOKEN_LENGTH = 24  # bytes of a subword
MIN_FREQUENT = 20  # occurrences of a character outside ASCII that is to be a subword
MANY_CHARACTERS = 64  # of those, from which on the vocabulary grows by them
# Strings with which the turns of known chat models end.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<turn|>", "<|return|>")
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """Tokens of a text as ids; read from a ``tokenizer.json``.

    Args:
        kind: a name of ``TOKENIZERS``, or ``keras_hub``.
        source: text of a ``tokenizer.json``.
        settings: of a preset: ``start`` (str or None), ``end``, ``stops`` and ``chat_template``.

    Attributes:
        size: number of ids: the largest one plus 1.
        end_id: ends a text or an answer.
        start_ids: none or one id with which each text begins.
        stop_ids: with any of these an answer ends.
        special_tokens: text -> id of tokens that are no text.
        token_lengths: (size,) int64, bytes in UTF-8 of each token; 0 of special ones.
    """

    def __init__(self, kind: str, source: str, settings: dict[str, Any] | None = None) -> None:
        self.kind, self.source, self.settings = kind, source, settings or {}
        self._load()
        end = self.settings.get("end") or next(iter(self.special_tokens), None)
        if end is None or self._find_id(end) is None:
            raise DataProblem("its tokens have none that ends a text (eos_token).")
        self.end_id: int = self._find_id(end)  # type: ignore[assignment]
        start = self.settings.get("start", END if self.kind not in (PRESET, KERAS_HUB) else None)
        start_id = self._find_id(start) if start else None
        self.start_ids: list[int] = [] if start_id is None else [start_id]
        stops = [*self.settings.get("stops", ()), *TURN_ENDS]
        known = (self.special_tokens.get(text) for text in stops)
        self.stop_ids: tuple[int, ...] = tuple(
            dict.fromkeys([self.end_id, *(i for i in known if i is not None)])
        )
        self.special_ids = frozenset(self.special_tokens.values())

    def _load(self) -> None:
        from tokenizers import Tokenizer as Library

        try:
            self._plain, self._prompt = Library.from_str(self.source), Library.from_str(self.source)
        except Exception as error:  # the library has no type of its own
            raise DataProblem(f"its tokens cannot be read: {error}") from None
        # Two, since a setting of the library would not be safe to switch between threads.
        for library, special_is_text in ((self._plain, True), (self._prompt, False)):
            library.no_truncation()
            library.no_padding()
            library.encode_special_tokens = special_is_text
        added = self._plain.get_added_tokens_decoder()
        self.special_tokens = {t.content: i for i, t in sorted(added.items()) if t.special}
        self._added = {i: t.content for i, t in added.items()}
        vocabulary = self._plain.get_vocab(with_added_tokens=True)
        self.size = max(vocabulary.values()) + 1
        self._texts = {i: text for text, i in vocabulary.items()}

    def _find_id(self, text: str) -> int | None:
        return self._plain.token_to_id(text)

    @property
    def start_id(self) -> int | None:
        """Id with which each text begins, if any."""
        return self.start_ids[0] if self.start_ids else None

    @property
    def chat_template(self) -> str | None:
        """The preset's own chat template in Jinja, if it has one."""
        return self.settings.get("chat_template")

    @property
    def template_variables(self) -> dict[str, str]:
        """Names that chat templates use -> special tokens, such as ``bos_token``."""
        names = {"bos_token": "bos", "eos_token": "end", "pad_token": "padding"}
        return {name: self.settings[key] for name, key in names.items() if self.settings.get(key)}

    # === Encoding ===

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens that somebody typed are text."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of several texts; special tokens that somebody typed are text."""
        encoded = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        return [part.ids for part in encoded]

    def encode_prompt(self, text: str) -> list[int]:
        """Return the ids of what a chat template rendered; its special tokens count.

        Those inside a user's text do not, where ``protect`` has marked them.
        """
        if MARK not in text:
            return list(self._prompt.encode(text, add_special_tokens=False).ids)
        ids: list[int] = []
        for part in self._special_pattern.split(text):
            if part in self.special_tokens:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self.encode(unprotect(part))
        return ids

    def protect(self, text: str) -> str:
        """Mark special tokens that a user typed, so that ``encode_prompt`` takes them as text."""
        return protect(text, self.special_tokens)

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    # === Decoding ===

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of ids; incomplete characters become replacement characters.

        Args:
            ids: of tokens; those outside the vocabulary are left out.
            skip_special: leave special tokens out.
        """
        known = [int(i) for i in ids if 0 <= i < self.size]
        return self._plain.decode(known, skip_special_tokens=skip_special)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the UTF-8 of a token, possibly a part of a character; b"" of a special one."""
        return self._bytes[token_id] if 0 <= token_id < self.size else b""

    @cached_property
    def token_lengths(self) -> np.ndarray:
        return np.array([len(text) for text in self._bytes], "int64")

    @cached_property
    def _bytes(self) -> list[bytes]:
        convert = self._make_converter()
        values = [b""] * self.size
        for token_id, text in self._texts.items():
            if token_id in self.special_ids:
                continue
            is_text = token_id in self._added
            values[token_id] = text.encode("utf-8", "replace") if is_text else convert(text)
        return values

    def _make_converter(self) -> Any:
        parsed = json.loads(self.source)
        kinds = set(_find_types({name: parsed.get(name) for name in ("pre_tokenizer", "decoder")}))
        if "ByteLevel" in kinds:
            return bytes_of_letters
        spaces = bool(kinds & {"Metaspace"}) or "\u2581" in json.dumps(
            parsed.get("decoder"), ensure_ascii=False
        )
        if "WordPiece" in kinds:
            return lambda text: (text[2:] if text[:2] == "##" else " " + text).encode()
        return lambda text: bytes_of_piece(text, spaces)

    # === Saving ===

    def to_json(self) -> str:
        """Return the state as JSON."""
        return json.dumps(
            {"kind": self.kind, "tokenizer": self.source, "settings": self.settings},
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, state: str) -> "Tokenizer":
        """Undo ``to_json``; the state may come from a stranger.

        Raises:
            DataProblem: it is no such state.
        """
        try:
            content = json.loads(state)
            kind, source, settings = (content[k] for k in ("kind", "tokenizer", "settings"))
            if not (isinstance(kind, str) and isinstance(source, str)):
                raise TypeError("kind and tokenizer must be texts")
            if not isinstance(settings, dict):
                raise TypeError("settings must be an object")
        except (ValueError, TypeError, KeyError) as error:
            raise DataProblem(f"its tokens cannot be read: {error}") from None
        if kind == KERAS_HUB:
            from .networks.hub_tokens import KerasHubTokenizer

            return KerasHubTokenizer(kind, source, settings)
        return cls(kind, source, settings)

    def save_huggingface(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which Hugging Face's libraries read.

        Args:
            folder: to write to; it exists.
        """
        texts = {i: text for text, i in self.special_tokens.items()}
        end = texts.get(self.end_id) or self._texts[self.end_id]
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": end,
            "pad_token": self.settings.get("padding") or end,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        }
        if self.start_ids:
            config["bos_token"] = texts.get(self.start_ids[0], end)
        if self.chat_template:
            config["chat_template"] = self.chat_template
        write_text(folder / "tokenizer.json", self.source)
        write_json(folder / "tokenizer_config.json", config)

    @cached_property
    def digest(self) -> str:
        """Hash of everything that decides the ids of a text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kind={self.kind!r}, size={self.size})"


def protect(text: str, special_tokens: Iterable[str]) -> str:
    """Mark special tokens inside a user's text, so that they stay text; see ``encode_prompt``.

    Args:
        text: typed by a user.
        special_tokens: those of the tokenizer.
    """
    for token in special_tokens:
        if token in text:
            text = text.replace(token, token[0] + MARK + token[1:])
    return text


def unprotect(text: str) -> str:
    """Remove the marks of ``protect``."""
    return text.replace(MARK, "")


# === Our own kinds ===


def fit_characters(texts: Iterable[str], size: int | None) -> Tokenizer:
    """Make a vocabulary of the most frequent characters; others become their bytes in UTF-8.

    Args:
        texts: training texts.
        size: largest number of ids; None: up to 10,000 characters.

    Raises:
        UsageProblem: the size leaves no room for characters.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    room = 10_000 if size is None else _check_size(size, SMALLEST + 1) - SMALLEST
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    counts.pop(MARK, None)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:room]
    tokens = [*SPECIAL_TOKENS, *(f"<0x{value:02X}>" for value in range(NUM_BYTES)), *frequent]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [], byte_fallback=True)
    library = Library(model)
    # One character each: the library's time grows with the length of what it is given.
    library.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    library.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return _finish("character", library)


def fit_bytes(texts: Iterable[str], size: int | None) -> Tokenizer:
    """Make the vocabulary of all bytes; nothing is learnt.

    Args:
        texts: training texts, which are not read.
        size: not used; there are always 256 bytes.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers import models

    tokens = [*SPECIAL_TOKENS, *(byte_letters()[value] for value in range(NUM_BYTES))]
    library = Library(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    return _finish("byte", _use_bytes(library, words=False))


def fit_subwords(texts: Iterable[str], size: int | None) -> Tokenizer:
    """Learn byte-pair encoding of bytes (Sennrich et al. 2016; Radford et al. 2019).

    Args:
        texts: training texts, a sample if there are many; their memory is bounded.
        size: largest number of ids; None: see ``choose_size``.

    Raises:
        UsageProblem: the size is smaller than all bytes need.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers, trainers

    texts = list(texts)
    size = choose_size(texts) if size is None else size
    library = _use_bytes(Library(models.BPE()), words=True)
    trainer = trainers.BpeTrainer(
        vocab_size=_check_size(size, SMALLEST),
        min_frequency=2,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=MAX_TOKEN_LENGTH,
    )
    library.train_from_iterator(texts, trainer)
    return _finish("subword", library)


def choose_size(texts: Iterable[str], scale: float = 1.0) -> int:
    """Return a vocabulary size for training texts.

    Of Python's topics (465,000 characters) 512 subwords are best in bits a byte. It grows with the
    power 0.6 of the size, up to 32,768; frequent characters outside ASCII come on top, as each of
    them needs several merges of bytes.

    Args:
        texts: training texts.
        scale: how many times as long all texts are, if these are a sample.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    by_length = 512 * (max(counts.total(), 1) * scale / 465_000) ** 0.6
    power = 2 ** round(math.log2(by_length))
    frequent = sum(n >= MIN_FREQUENT and ord(c) > 127 for c, n in counts.items())
    several = frequent if frequent >= MANY_CHARACTERS else 0
    return int(min(max(power, 320), 32_768) + min(several, 8_192))


def _check_size(size: int, least: int) -> int:
    if size < least:
        raise UsageProblem(
            f"data.vocabulary_size: {size} is too small; {NUM_BYTES} bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens need at least {least}."
        )
    return size


def _use_bytes(library: Any, words: bool) -> Any:
    from tokenizers import decoders, pre_tokenizers

    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    library.decoder = decoders.ByteLevel()
    return library


def _finish(kind: str, library: Any) -> Tokenizer:
    from tokenizers import AddedToken

    library.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in SPECIAL_TOKENS]
    )
    return Tokenizer(kind, library.to_str())


@cache
def byte_letters() -> dict[int, str]:
    """Map each byte to the letter that stands for it in byte-level vocabularies (GPT-2's)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(NUM_BYTES) if value not in visible]
    return {value: chr(value) for value in visible} | {
        value: chr(NUM_BYTES + place) for place, value in enumerate(others)
    }


@cache
def _letter_bytes() -> dict[str, int]:
    return {letter: value for value, letter in byte_letters().items()}


def bytes_of_letters(text: str) -> bytes:
    """Return the bytes that a token of a byte-level vocabulary stands for."""
    values = [_letter_bytes().get(letter) for letter in text]
    if None in values:
        return text.encode("utf-8", "replace")
    return bytes(value for value in values if value is not None)


def bytes_of_piece(text: str, spaces: bool) -> bytes:
    """Return the UTF-8 of a token as SentencePiece writes it.

    Args:
        text: of the token; ``<0x0A>`` is a byte.
        spaces: a lower one eighth block stands for a space.
    """
    found = BYTE_TOKEN.fullmatch(text)
    if found:
        return bytes([int(found[1], 16)])
    return (text.replace("\u2581", " ") if spaces else text).encode("utf-8", "replace")


def _find_types(value: Any) -> Iterator[str]:
    """Yield the types of all parts of a ``tokenizer.json``."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value["type"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _find_types(part)


# === Tokens of presets ===


def read_preset(folder: Path) -> Tokenizer:
    """Read the tokens of a preset: Hugging Face's tokenizer.json, else KerasHub's files.

    Args:
        folder: of the preset.

    Raises:
        DataProblem: the folder has neither, or they cannot be read.
    """
    file = folder / "tokenizer.json"
    content = _read_json(file)
    if isinstance(content.get("model"), dict):
        settings = _read_settings(folder, content)
        return Tokenizer(PRESET, file.read_text(encoding="utf-8"), settings)
    from .networks.hub_tokens import read_keras_hub

    return read_keras_hub(folder)


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataProblem(f"{file}: no JSON: {error}.") from None
    return content if isinstance(content, dict) else {}


def _read_settings(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return start, end, stops, padding and chat template of a folder of Hugging Face."""
    config = _read_json(folder / "tokenizer_config.json")
    special = _read_json(folder / "special_tokens_map.json")
    model = _read_json(folder / "config.json")
    generation = _read_json(folder / "generation_config.json")
    texts = {entry["id"]: entry["content"] for entry in content.get("added_tokens", [])}

    def name(key: str) -> str | None:
        for source in (config, special):
            value = source.get(f"{key}_token")
            value = value.get("content") if isinstance(value, dict) else value
            if value:
                return str(value)
        return texts.get(model.get(f"{key}_token_id"))

    stops = generation.get("eos_token_id", model.get("eos_token_id"))
    stops = stops if isinstance(stops, list) else [stops]
    stop_texts = [texts[i] for i in stops if i in texts]
    end = name("eos") or next(iter(stop_texts), None)
    template = folder / "chat_template.jinja"
    chat = template.read_text("utf-8") if template.is_file() else config.get("chat_template")
    if isinstance(chat, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in chat}
        chat = named.get("default") or next(iter(named.values()), None)
    return {
        "start": name("bos") if _adds_start(config, content, name("bos")) else None,
        "end": end,
        "bos": name("bos"),
        "padding": name("pad"),
        "stops": stop_texts,
        "chat_template": chat if isinstance(chat, str) else None,
    }


def _adds_start(config: dict[str, Any], content: dict[str, Any], start: str | None) -> bool:
    """Return whether the preset's network has learnt texts that begin with the start token."""
    if config.get("add_bos_token") is not None:
        return bool(config["add_bos_token"])
    return bool(start) and json.dumps(start) in json.dumps(content.get("post_processor"))
