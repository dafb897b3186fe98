"""Texts of any script become tokens and the same text again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from {{ cookiecutter.package_name }} import tokens
from {{ cookiecutter.package_name }}.engine.errors import DataProblem, UsageProblem
from {{ cookiecutter.package_name }}.tokens import SPECIAL_TOKENS, Tokenizer

ENGLISH = ["The cat sat on the mat, and the dog sat on the cat."] * 20
CHINESE = ["质量很好,我喜欢这个产品。", "今天天气很好,我们去公园。"] * 20
KINDS = {
    "character": tokens.fit_characters,
    "byte": tokens.fit_bytes,
    "subword": tokens.fit_subwords,
}
ANY = [
    "The cat",
    "质量很好",
    "\tzwei\r\n\n  Größe é e\u0301",
    "😀👩‍👩‍👧 हिन्दी",
    "<0x0A> ▁ Ġ",
    "",
    " a ",
]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return KINDS[request.param]([*ENGLISH, *CHINESE], None)


def test_any_text_comes_back(tokenizer: Tokenizer) -> None:
    for text in ANY:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
        assert tokenizer.token_lengths[ids].sum() == len(text.encode())
        assert not tokenizer.special_ids & set(ids)
    assert tokenizer.encode_all(ANY) == [tokenizer.encode(text) for text in ANY]


def test_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_tokens == {text: i for i, text in enumerate(SPECIAL_TOKENS)}
    assert (tokenizer.end_id, tokenizer.start_ids, tokenizer.stop_ids) == (0, [0], (0,))
    assert tokenizer.encode_prompt("<user>a<end>")[::2] == [2, 0]
    assert tokenizer.decode([2, *tokenizer.encode("a"), 0]) == "a"
    assert tokenizer.decode([2, *tokenizer.encode("a"), 0], skip_special=False) == "<user>a<end>"


def test_typed_special_tokens_are_text(tokenizer: Tokenizer) -> None:
    typed = "say <end> and <user>"
    ids = tokenizer.encode(typed)
    assert not tokenizer.special_ids & set(ids)
    assert tokenizer.decode(ids) == typed
    prompt = tokenizer.encode_prompt(f"<user>{tokenizer.protect(typed)}<end>")
    assert prompt == [2, *ids, 0]
    assert tokens.unprotect(tokenizer.protect(typed)) == typed


def test_saved_and_read_again(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer
    assert again.digest == tokenizer.digest
    assert [again.encode(text) for text in ANY] == [tokenizer.encode(text) for text in ANY]


def test_files_are_those_of_hugging_face(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save_huggingface(tmp_path)
    library = Library.from_file(str(tmp_path / "tokenizer.json"))
    for text in ANY:
        assert library.encode(text).ids == tokenizer.encode(text)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["eos_token"] == config["pad_token"] == config["bos_token"] == "<end>"


def test_transformers_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save_huggingface(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    for text in ANY:
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer.encode(text)
        assert loaded.decode(ids, clean_up_tokenization_spaces=False) == text


def test_chinese_is_learnt() -> None:
    characters = tokens.fit_characters(CHINESE, None)
    assert len(characters.encode("质量很好")) == 4
    assert len(characters.encode("贷")) == 3  # not seen: its bytes
    assert len(tokens.fit_subwords(CHINESE, 600).encode("质量很好")) < 4


def test_characters_are_the_most_frequent_ones() -> None:
    learnt = tokens.fit_characters(["aaabbc"], tokens.SMALLEST + 2)
    assert learnt.size == tokens.SMALLEST + 2
    assert learnt.encode("abc")[:2] == [tokens.SMALLEST, tokens.SMALLEST + 1]
    assert learnt.decode(learnt.encode("abc")) == "abc"


def test_size_grows_with_the_texts() -> None:
    def size(letters: int, others: int = 0) -> int:
        texts = ["a" * 1_000, *(chr(0x4E00 + i) * 50 for i in range(others))]
        return tokens.choose_size(texts, letters / sum(map(len, texts)))

    assert size(465_000) == size(330_000) == 512
    assert [size(n) for n in (10, 10_000_000, 10**10)] == [320, 4096, 32_768]
    assert size(465_000, others=3) == 512
    assert size(465_000, others=1_000) == 1_512


@pytest.mark.parametrize("fit", [tokens.fit_characters, tokens.fit_subwords])
def test_small_vocabularies_are_refused(fit: Callable) -> None:
    with pytest.raises(UsageProblem, match=r"^data\.vocabulary_size: 100 is too small; 256 bytes"):
        fit(ENGLISH, 100)


@pytest.mark.parametrize("state", ["", "{}", "[]", '{"kind":"x","tokenizer":"{}","settings":{}}'])
def test_a_broken_state_is_refused(state: str) -> None:
    with pytest.raises(DataProblem, match="its tokens cannot be read"):
        Tokenizer.from_json(state)


# === Tokens of presets ===


def write_preset(folder: Path, **config: object) -> Tokenizer:
    """Write tokens as a preset of Hugging Face has them, whose turns end with <|im_end|>."""
    library = Library.from_str(tokens.fit_subwords(ENGLISH, 300).source)
    library.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    (folder / "tokenizer.json").write_text(library.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokens.read_preset(folder)


def test_preset(tmp_path: Path) -> None:
    template = "a template"
    (tmp_path / "chat_template.jinja").write_text(template)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 0]}')
    preset = write_preset(tmp_path, eos_token="<end>", bos_token="<user>", pad_token=None)
    assert preset.kind == "preset"
    assert preset.start_ids == []  # nothing says that its texts begin with one
    assert preset.end_id == 0
    assert set(preset.stop_ids) == {0, 1, preset.special_tokens["<|im_end|>"]}
    assert preset.chat_template == template
    assert preset.template_variables == {"bos_token": "<user>", "eos_token": "<end>"}
    for text in ANY:
        assert preset.decode(preset.encode(text)) == text
        assert preset.token_lengths[preset.encode(text)].sum() == len(text.encode())
    assert Tokenizer.from_json(preset.to_json()) == preset


def test_preset_with_a_start_token(tmp_path: Path) -> None:
    preset = write_preset(tmp_path, eos_token="<end>", bos_token="<user>", add_bos_token=True)
    assert preset.start_ids == [2]


def test_preset_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    with pytest.raises(DataProblem, match="its tokens cannot be read"):
        tokens.read_preset(tmp_path)


def test_preset_of_keras_hub(tmp_path: Path) -> None:
    hub = pytest.importorskip("keras_hub")
    letters = [*tokens.byte_letters().values(), "Ġc", "at", "Ġcat", "<|endoftext|>"]
    own = hub.models.GPT2Tokenizer(
        vocabulary={text: i for i, text in enumerate(letters)},
        merges=["Ġ c", "a t", "Ġc at"],
    )
    own.save_to_preset(str(tmp_path))
    sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 2, "intermediate_dim": 2}
    network = hub.models.GPT2Backbone(vocabulary_size=260, max_sequence_length=8, **sizes)
    network.save_to_preset(str(tmp_path))
    preset = tokens.read_preset(tmp_path)
    assert (preset.kind, preset.size, preset.end_id) == ("keras_hub", 260, 259)
    for text in ("the cat", "质量 <|endoftext|> 好", "\n\n a  b\t"):
        ids = preset.encode(text)
        assert not preset.special_ids & set(ids)
        assert preset.decode(ids) == text
    np.testing.assert_array_equal(preset.encode("the cat"), own("the cat"))
    assert preset.encode_prompt("a<|endoftext|>")[-1] == 259
    assert Tokenizer.from_json(preset.to_json()) == preset
    broken = json.loads(preset.to_json())
    broken["tokenizer"] = broken["tokenizer"].replace("vocabulary.json", "../vocabulary.json")
    with pytest.raises(DataProblem, match="is not a bare file name"):
        Tokenizer.from_json(json.dumps(broken))
