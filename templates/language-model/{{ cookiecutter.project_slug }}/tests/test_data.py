"""Texts, chats and pairs of every source become rows of tokens, and what cannot is named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import objective
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets import corpus, python_docs, store, texts
from {{ cookiecutter.package_name }}.datasets.duplicates import (
    BandKeys,
    ContentHasher,
    choose_bands,
    similarity,
    word_groups,
)
from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

from . import tiny_presets

SENTENCE = "the a cat dog runs sleeps quickly under over table house red blue green and or then"
WORDS = SENTENCE.split()


def sentence(number: int, length: int = 12) -> str:
    random = np.random.default_rng(number)
    return " ".join(random.choice(WORDS, length))


SENTENCES = [sentence(n) for n in range(60)]


def make_config(source: str, path: object = None, *words: str) -> Config:
    given = [] if path is None else ["--data.path", str(path)]
    given = ["--data.source", source, *given, *words]
    return load_config(given, environment={})


def write_jsonl(path: Path, rows: list) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n")
    return path


def from_jsonl(path: Path, rows: list, *words: str) -> DatasetSplits:
    return load(make_config("jsonl", write_jsonl(path / "t.jsonl", rows), *words))


def all_texts(data: DatasetSplits) -> list[list[str]]:
    """Return the texts of each split; a row has one for each line."""
    return [
        [t for text in split.read_texts(np.arange(len(split))) for t in text.split("\n")]
        for split in data.splits.values()
    ]


# === Sources ===


def test_python_docs() -> None:
    data = load(make_config("python_docs"))
    sizes = data.notes["bytes"]
    total = sum(sizes.values())
    assert total > 400_000
    assert [round(size / total, 1) for size in sizes.values()] == [0.8, 0.1, 0.1]
    assert data.train.tokenizer.size == 512
    groups = {row.id: row.group for row in python_docs.rows()}
    assert groups["compound"] == groups["if"] == groups["while"]
    split_of = {
        groups[document]: name
        for name, split in data.splits.items()
        for document in split.documents
    }
    for name, split in data.splits.items():
        assert {split_of[groups[document]] for document in split.documents} == {name}
        assert split.bytes_per_row.sum() == sizes[name]
    assert load(make_config("python_docs")).digest == data.digest
    other = load(make_config("python_docs", None, "--data.split_seed", "1"))
    assert other.digest != data.digest


def test_rows_are_the_texts(own_folder: Path) -> None:
    data = from_jsonl(own_folder, [{"text": text} for text in SENTENCES], "--model.context", "50")
    assert sorted(text for split in all_texts(data) for text in split) == sorted(SENTENCES)
    assert data.notes["texts"] == {"train": 48, "validation": 6, "test": 6}
    rows = data.train.read_rows(np.arange(3))
    assert {name: part.shape for name, part in rows.items()} == dict.fromkeys(rows, (3, 51))
    assert [str(part.dtype) for part in rows.values()] == ["int32", "int32", "float32"]
    first = rows["segments"] != np.pad(rows["segments"], [[0, 0], [1, 0]])[:, :-1]
    np.testing.assert_array_equal(rows["weights"], (rows["segments"] > 0) & ~first)
    taken = data.train.take(np.array([2, 0]))
    assert taken.read_texts(np.array([1, 0])) == data.train.read_texts(np.array([0, 2]))
    assert taken.bytes_per_row.tolist() == data.train.bytes_per_row[[2, 0]].tolist()


def test_one_text_is_divided_by_position(own_folder: Path) -> None:
    text = "\r\n\r\n".join(f"Paragraph {n}. {sentence(n, 40)}." for n in range(100))
    file = own_folder / "book.txt"
    file.write_bytes(text.encode())
    data = load(make_config("text", file))
    rows = [split.read_rows(np.arange(len(split)))["tokens"] for split in data.splits.values()]
    decode = data.train.tokenizer.decode
    begins = [decode(part[0].tolist()) for part in rows]
    numbers = [int(begin.split()[1].rstrip(".")) for begin in begins]
    assert all(begin.startswith("Paragraph ") for begin in begins)
    assert numbers[0] == 0
    assert 75 <= numbers[1] <= 80
    assert 85 <= numbers[2] <= 90
    assert data.notes["divided_by_position"]
    assert data.notes["bytes"]["train"] == data.train.bytes_per_row.sum()
    assert "\r" not in decode(rows[0].flatten().tolist())


def test_folder(own_folder: Path) -> None:
    for n, text in enumerate(SENTENCES[:20]):
        file = own_folder / "texts" / f"{n % 3}" / f"{n}.{'txt' if n % 2 else 'md'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (own_folder / "texts" / "image.png").write_bytes(b"\0\1")
    data = load(make_config("text", own_folder / "texts"))
    assert sorted(text for split in all_texts(data) for text in split) == sorted(SENTENCES[:20])


def test_folders_of_splits(own_folder: Path) -> None:
    for n, text in enumerate(SENTENCES[:20]):
        file = own_folder / "texts" / ("train" if n < 15 else "test") / f"{n}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    data = load(make_config("text", own_folder / "texts"))
    assert sorted(all_texts(data)[2]) == sorted(SENTENCES[15:20])
    assert data.notes["texts"]["train"] + data.notes["texts"]["validation"] == 15


CHATS = {
    "messages": [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in zip(SENTENCES[::2], SENTENCES[1::2], strict=True)
    ],
    "conversations": [
        {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for q, a in zip(SENTENCES[::2], SENTENCES[1::2], strict=True)
    ],
    "alpaca": [
        {"instruction": q, "input": "", "output": a}
        for q, a in zip(SENTENCES[::2], SENTENCES[1::2], strict=True)
    ],
}


@pytest.mark.parametrize("form", CHATS)
@pytest.mark.parametrize("source", ["jsonl", "parquet"])
def test_chats(form: str, source: str, own_folder: Path) -> None:
    file = own_folder / f"t.{source}"
    if source == "jsonl":
        write_jsonl(file, CHATS[form])
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(CHATS[form]), file)
    data = load(make_config(source, file))
    assert data.train.kind == "chat"
    found = {text for split in all_texts(data) for text in split}
    assert found == set(SENTENCES)
    predicted = []
    for split in data.splits.values():
        rows = split.read_rows(np.arange(len(split)))
        for tokens, weights in zip(rows["tokens"], rows["weights"], strict=True):
            answers = tokens[weights > 0].tolist()
            text = split.tokenizer.decode(answers, skip_special=False)
            predicted += text.removesuffix("<end>").split("<end>")
    assert sorted(predicted) == sorted(SENTENCES[1::2])


def test_special_tokens_in_a_message_stay_text(own_folder: Path) -> None:
    typed = "say <end> and <assistant> now"
    rows = [
        {"messages": [{"role": "user", "content": typed}, {"role": "assistant", "content": text}]}
        for text in SENTENCES[:9]
    ]
    words = ["--data.packing", "false", "--data.near_duplicates", "1"]
    data = from_jsonl(own_folder, rows, *words)
    for split in data.splits.values():
        tokens = split.read_rows(np.arange(len(split)))["tokens"]
        for row, text in zip(tokens, split.read_texts(np.arange(len(split))), strict=True):
            special = [token for token in row.tolist() if token in split.tokenizer.special_ids]
            assert special[:4] == [2, 0, 3, 0]  # <user>…<end><assistant>…<end>, then padding
            assert text.startswith(typed)


def test_tokens_and_template_of_a_preset(own_folder: Path) -> None:
    pytest.importorskip("keras_hub")
    folder = tiny_presets.write_preset(own_folder / "preset")
    words = ["--model.name", "preset", "--model.preset", str(folder)]
    rows = [{"instruction": f"{n}?", "output": str(n * n)} for n in range(30)]
    data = from_jsonl(own_folder, rows, *words, "--model.context", "64")
    assert data.train.tokenizer.kind == "preset"
    assert not data.train.packed
    assert data.train.context == 64
    first = data.train.read_rows(np.array([0]))["tokens"][0].tolist()
    shown = data.train.tokenizer.decode(first, skip_special=False)
    assert shown.startswith("<|im_start|>user\n")


def test_too_long_chats_lose_tokens_and_say_so(own_folder: Path) -> None:
    data = from_jsonl(own_folder, CHATS["messages"], "--model.context", "20")
    assert data.notes["lost_tokens"]["train"] == data.train.lost_tokens > 0
    with pytest.raises(DataProblem, match=r"no answer begins within model\.context 4\."):
        load(make_config("jsonl", own_folder / "t.jsonl", "--model.context", "4"))


def test_rows_without_packing(own_folder: Path) -> None:
    words = ["--data.packing", "false", "--model.context", "60"]
    data = from_jsonl(own_folder, CHATS["messages"], *words)
    assert data.sizes() == data.notes["texts"]
    preprocessing = Preprocessing.fit(data.train, make_config("jsonl"))
    rows = data.train.read_rows(np.arange(4))
    assert preprocessing.lengths is not None
    lengths = preprocessing.lengths(rows)["tokens"].numpy()
    assert lengths.tolist() == (rows["segments"] > 0).sum(axis=1).tolist()


def test_preference_pairs(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"prompt": a, "chosen": b, "rejected": c}
        for a, b, c in zip(SENTENCES[:20], SENTENCES[20:40], SENTENCES[40:], strict=True)
    ]
    monkeypatch.setattr(
        objective, "measure_reference", lambda config, split: -np.ones((len(split), 2))
    )
    data = from_jsonl(own_folder, rows, "--train.loss", "dpo", "--model.context", "64")
    assert data.train.kind == "pairs"
    read = data.train.read_rows(np.array([0]))
    assert {name: part.shape for name, part in read.items()} == {
        "tokens": (1, 65, 2),
        "segments": (1, 65, 2),
        "weights": (1, 65, 2),
        "reference": (1, 2),
    }
    at = SENTENCES.index(data.train.read_texts(np.array([0]))[0].split("\n")[0])
    for side, answer in enumerate((SENTENCES[20 + at], SENTENCES[40 + at])):
        ids = read["tokens"][0, :, side][read["weights"][0, :, side] > 0].tolist()
        assert data.train.tokenizer.decode(ids) == answer
    with pytest.raises(UsageProblem, match=r"train\.loss: 'next_token' needs texts or chats"):
        load(make_config("jsonl", own_folder / "t.jsonl"))


def test_hugging_face(own_folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": SENTENCES[:40], "test": SENTENCES[40:]}
    made = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict({"text": part}) for name, part in parts.items()}
    )
    made.save_to_disk(str(own_folder / "set"))
    data = load(make_config("hf:local", own_folder / "set"))
    assert sorted(all_texts(data)[2]) == sorted(SENTENCES[40:])
    with pytest.raises(DataProblem, match=r"there is no column 'body'.*; found: text\."):
        load(make_config("hf:local", own_folder / "set", "--data.text_column", "body"))


def test_hugging_face_by_name(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", own_folder / "cache")
    (own_folder / "set").mkdir()
    write_jsonl(own_folder / "set" / "train.jsonl", CHATS["messages"][:20])
    write_jsonl(own_folder / "set" / "test.jsonl", CHATS["messages"][20:])
    data = load(make_config(f"hf:{own_folder / 'set'}"))
    assert data.train.kind == "chat"
    assert data.notes["texts"]["test"] == 10
    with pytest.raises(ProjectError, match=r"data\.source: 'hf:\S+none' cannot be loaded: "):
        load(make_config(f"hf:{own_folder / 'none'}"))


# === Division ===


def test_copies_and_near_copies_stay_in_one_split(own_folder: Path) -> None:
    rows = []
    for n in range(40):
        text = sentence(n, 60)
        rows += [text, f"{text.upper()}!!", text + " at the end"]
    data = from_jsonl(own_folder, [{"text": text} for text in rows])
    assert data.duplicates == 40
    assert data.notes["near_duplicates"] == 40
    split_of: dict[str, set[str]] = {}
    for name, split in data.splits.items():
        for document in split.documents:
            number = (int(document.removeprefix("row ")) - 1) // 3
            split_of.setdefault(str(number), set()).add(name)
    assert {len(names) for names in split_of.values()} == {1}


def test_groups_and_splits_of_columns(own_folder: Path) -> None:
    rows = [{"text": t, "who": f"w{n % 9}", "id": f"x{n}"} for n, t in enumerate(SENTENCES)]
    words = ["--data.group_column", "who", "--data.id_column", "id"]
    data = from_jsonl(own_folder, rows, *words)
    found = [
        {int(document[1:]) % 9 for document in split.documents} for split in data.splits.values()
    ]
    assert sum(map(len, found)) == len(set.union(*found))
    for n, row in enumerate(rows):
        row["part"] = ("train", "dev", "test")[n % 3]
    data = from_jsonl(own_folder, rows, "--data.split_column", "part")
    assert sorted(all_texts(data)[1]) == sorted(SENTENCES[1::3])


def test_nothing_of_the_test_split_is_in_another(own_folder: Path) -> None:
    rows = [{"text": t, "part": ("train", "dev", "test")[n % 3]} for n, t in enumerate(SENTENCES)]
    rows.append({"text": SENTENCES[2].upper(), "part": "train"})  # the third one is in the test
    data = from_jsonl(own_folder, rows, "--data.split_column", "part")
    assert data.notes["texts"] == {"train": 20, "validation": 20, "test": 20}


def test_limit(own_folder: Path) -> None:
    rows = [{"text": text} for text in SENTENCES]
    data = from_jsonl(own_folder, rows, "--data.limit", "12")
    assert sum(data.notes["texts"].values()) == 12
    with pytest.raises(UsageProblem, match=r"data\.limit: 2 is too few"):
        load(make_config("jsonl", own_folder / "t.jsonl", "--data.limit", "2"))


@pytest.mark.parametrize(
    ("first", "second", "least", "most"),
    [
        ("the cat sat on the mat", "The cat sat, on the mat!", 1, 1),
        ("质量很好我很喜欢这个产品", "质量很好我很喜欢那个产品", 0.5, 0.6),
        ("the cat sat on the mat", "a dog ran over some hills", 0, 0),
        ("😀😀", "😡😡", 0, 0),
        ("", "", 0, 0),
    ],
)
def test_similarity(first: str, second: str, least: float, most: float) -> None:
    assert least <= similarity(first, second) <= most


def test_near_copies_are_found_among_many(own_folder: Path) -> None:
    bands = BandKeys(0.8)
    words = [sentence(n, 200).split() for n in range(100)]
    many = [" ".join(text) for text in words]
    many += [" ".join([*text[:100], "other", *text[101:]]) for text in words]
    for text in many:
        bands.begin()
        bands.add(text)
        bands.end()
    pairs = bands.find_pairs(many.__getitem__)
    assert sorted(map(tuple, pairs.tolist())) == [(n, n + 100) for n in range(100)]
    for threshold in (0.5, 0.8, 0.95):
        number, rows = choose_bands(threshold)
        assert number * rows <= 128


def test_word_groups_of_a_long_text_in_parts() -> None:
    whole, parts = ContentHasher(), ContentHasher()
    whole.update("Some Words, in a text")
    for part in ("Some Wo", "rds, in", " a text"):
        parts.update(part)
    assert whole.key() == parts.key()
    assert len(word_groups("one two three four")) == 2


# === Large data ===


def test_many_rows_are_kept_in_files(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": text} for text in SENTENCES]
    small = from_jsonl(own_folder, rows, "--model.context", "20")
    assert not (own_folder / ".cache" / "tokens").exists()
    monkeypatch.setattr(store, "IN_MEMORY", 100)
    monkeypatch.setattr(store, "CHUNK", 100)
    config = make_config("jsonl", own_folder / "t.jsonl", "--model.context", "20")
    for turn in range(2):
        large = load(config)
        folders = sorted((own_folder / ".cache" / "tokens").iterdir())
        assert len(folders) == 3
        assert large.digest == small.digest
        for name, split in large.splits.items():
            at = np.arange(len(split))
            expected = small.splits[name].read_rows(at)
            for part, values in split.read_rows(at).items():
                np.testing.assert_array_equal(values, expected[part])
            assert split.bytes_per_row.tolist() == small.splits[name].bytes_per_row.tolist()
            assert split.ids.tolist() == small.splits[name].ids.tolist()
        if turn == 0:  # later runs read the files and make none
            monkeypatch.setattr(store, "_write", None)


def test_broken_files_of_rows_are_made_anew(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 100)
    data = from_jsonl(own_folder, [{"text": text} for text in SENTENCES])
    before = data.train.read_texts(np.arange(2))
    folder = own_folder / ".cache" / "tokens"
    for file in folder.glob("*/tokens.bin"):
        file.unlink()
        file.write_bytes(b"")
    again = load(make_config("jsonl", own_folder / "t.jsonl"))
    assert again.train.read_texts(np.arange(2)) == before
    assert not list(folder.glob(".new-*"))


def test_texts_are_read_in_chunks(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"质量{n} 很好" for n in range(3_000))  # one line
    (own_folder / "t.txt").write_text(text)
    config = make_config("text", own_folder / "t.txt", "--data.tokens", "byte")
    whole = load(config)
    monkeypatch.setattr(texts, "CHUNK", 101)
    monkeypatch.setattr(corpus, "CHUNK", 103)
    parts = load(config)
    assert parts.notes["bytes"] == whole.notes["bytes"]
    assert parts.digest == whole.digest
    assert parts.train.read_texts(np.arange(5)) == whole.train.read_texts(np.arange(5))


# === What is checked ===


def broken_utf8(folder: Path) -> list[str]:
    (folder / "t.txt").write_bytes("größer ".encode() * 200_000 + "größer".encode("cp1252"))
    return ["text", "t.txt"]


def other_encoding(folder: Path) -> list[str]:
    (folder / "t.txt").write_bytes("质量很好,我喜欢这个产品。今天天气很好。".encode("gb18030") * 20)
    return ["text", "t.txt"]


def with_nul(folder: Path) -> list[str]:
    (folder / "t.txt").write_bytes(b"text\0more")
    return ["text", "t.txt"]


def one_letter(folder: Path) -> list[str]:
    (folder / "t.txt").write_text("a")
    return ["text", "t.txt"]


def empty_file(folder: Path) -> list[str]:
    (folder / "t.txt").write_text("  \n")
    return ["text", "t.txt"]


def no_files(folder: Path) -> list[str]:
    (folder / "d").mkdir()
    return ["text", "d"]


def two_texts(folder: Path) -> list[str]:
    write_jsonl(folder / "t.jsonl", [{"text": t} for t in SENTENCES[:2]])
    return ["jsonl", "t.jsonl"]


def empty_rows(folder: Path) -> list[str]:
    write_jsonl(folder / "t.jsonl", [{"text": ""}, *({"text": t} for t in SENTENCES[:9])])
    return ["jsonl", "t.jsonl"]


def other_columns(folder: Path) -> list[str]:
    write_jsonl(folder / "t.jsonl", [{"body": t, "kind": 1} for t in SENTENCES])
    return ["jsonl", "t.jsonl"]


def no_json(folder: Path) -> list[str]:
    write_jsonl(folder / "t.jsonl", ["{", *({"text": t} for t in SENTENCES[:9])])
    return ["jsonl", "t.jsonl"]


def nothing(folder: Path) -> list[str]:
    (folder / "t.jsonl").write_text("")
    return ["jsonl", "t.jsonl"]


def two_answers(folder: Path) -> list[str]:
    answers = [{"role": "assistant", "content": "b"}] * 2
    bad = {"messages": [{"role": "user", "content": "a"}, *answers]}
    write_jsonl(folder / "t.jsonl", [*CHATS["messages"][:5], bad])
    return ["jsonl", "t.jsonl"]


def no_answer(folder: Path) -> list[str]:
    bad = {"messages": [{"role": "user", "content": "a"}]}
    write_jsonl(folder / "t.jsonl", [*CHATS["messages"][:5], bad])
    return ["jsonl", "t.jsonl"]


def half_a_pair(folder: Path) -> list[str]:
    rows = [*({"text": t} for t in SENTENCES[:9]), '{"text": "\\ud800"}']
    write_jsonl(folder / "t.jsonl", rows)
    return ["jsonl", "t.jsonl"]


def no_parquet(folder: Path) -> list[str]:
    (folder / "t.parquet").write_text("not one")
    return ["parquet", "t.parquet"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken_utf8, "t.txt: not utf-8 at byte 1800002."),
        (other_encoding, "t.txt: not utf-8 at byte 0; --data.encoding gb18030 may be right."),
        (with_nul, "t.txt: a NUL at character 4; it is no text but binary."),
        (one_letter, "t.txt: a text of 1 bytes is too short; nothing is left for the"),
        (empty_file, "t.txt: the text is empty."),
        (no_files, "'d' has no files with .txt, .text, .md"),
        (two_texts, "2 distinct texts or groups are too few; at least 3 are needed"),
        (empty_rows, "1 of 10 texts cannot be used, more than data.max_unreadable 0.05"),
        (other_columns, "t.jsonl: there is no column 'text', and none of chats"),
        (no_json, "the first is 'row 1': no JSON: Expecting property name"),
        (nothing, "there are no texts in 't.jsonl'"),
        (two_answers, "the first is 'row 6': messages: number 3 is a second answer in a row."),
        (no_answer, "the first is 'row 6': messages: there is no answer"),
        (half_a_pair, "the first is 'row 10': a half of a surrogate pair"),
        (no_parquet, "not a parquet file"),
    ],
)
def test_bad_data_is_named(make: Callable, message: str, own_folder: Path) -> None:
    config = make_config(*make(own_folder))
    with pytest.raises(DataProblem) as problem:
        load(config)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text"], "data.path: source 'text' needs a file or folder."),
        (["jsonl", "--data.path", "t.txt"], "must end with .jsonl"),
        (["text", "--data.path", "t.txt", "--data.encoding", "klingon"], "'klingon' is unknown"),
        (["python_docs", "--data.tokens", "preset"], "'preset' does not go with model.name 'gpt'"),
        (["python_docs", "--train.loss", "dpo"], "'dpo' needs preference pairs, and data.source"),
    ],
)
def test_wrong_use_is_named(words: list[str], message: str, own_folder: Path) -> None:
    (own_folder / "t.txt").write_text("a text\n" * 100)
    config = load_config(["--data.source", *words], environment={})
    with pytest.raises(UsageProblem) as problem:
        load(config)
    assert message in str(problem.value)


def test_unusable_rows_are_left_out_and_listed(own_folder: Path) -> None:
    rows = [*({"text": t} for t in SENTENCES), {"text": None}, {"text": 5}, {"text": "a\0b"}]
    data = from_jsonl(own_folder, rows)
    assert data.unreadable == (
        ("row 61", "the text is empty"),
        ("row 62", "text is no text but int"),
        ("row 63", "a NUL; it is no text but binary"),
    )
    assert sum(data.notes["texts"].values()) == 60


def test_other_encodings(own_folder: Path) -> None:
    text = "质量很好,我喜欢这个产品。\n" * 200
    (own_folder / "t.txt").write_bytes(text.encode("gb18030"))
    data = load(make_config("text", own_folder / "t.txt", "--data.encoding", "gb18030"))
    assert sum(data.notes["bytes"].values()) == len(text.encode())
    (own_folder / "t.txt").write_bytes(text.encode("utf-16"))
    data = load(make_config("text", own_folder / "t.txt", "--data.encoding", "utf-16"))
    assert sum(data.notes["bytes"].values()) == len(text.encode())
    (own_folder / "t.txt").write_bytes(text.encode("utf-8-sig"))
    data = load(make_config("text", own_folder / "t.txt"))
    assert sum(data.notes["bytes"].values()) == len(text.encode())


def test_a_model_reads_other_data_with_its_own_tokens(own_folder: Path) -> None:
    data = from_jsonl(own_folder, [{"text": text} for text in SENTENCES], "--model.context", "16")
    preprocessing = Preprocessing.fit(data.train, make_config("jsonl"))
    other = load(make_config("python_docs"), preprocessing)
    assert other.test.tokenizer == preprocessing.tokenizer
    assert other.test.read_rows(np.array([0]))["tokens"].shape == (1, 17)
    write_jsonl(own_folder / "c.jsonl", CHATS["messages"])
    with pytest.raises(DataProblem, match="has learnt from data of the kind 'text'"):
        load(make_config("jsonl", own_folder / "c.jsonl"), preprocessing)
