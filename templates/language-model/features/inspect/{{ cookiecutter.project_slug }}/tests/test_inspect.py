"""``inspect`` sees what is there, and what it writes is read as it is."""

import json
from pathlib import Path

import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.inspection.texts import inspect as inspect_texts

inspect = program.script("inspect")

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def make_text(n: int) -> str:
    digits = " ".join(NUMBERS[int(digit)] for digit in str(n * 7919))
    return f"This is the story of number {n}, and of {digits}. It was told to the children."


def write(file: Path, rows: list[dict]) -> Path:
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return file


def facts_of(path: Path, *words: str) -> tuple[dict[str, str], list[str], dict]:
    config = load_config(list(words), environment={})
    given = {word.removeprefix("--data.") for word in words if word.startswith("--")}
    findings = inspect_texts(path, config, given)
    return dict(findings.facts), findings.warnings, findings.fields


def test_findings_and_configuration(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"story": make_text(n), "title": f"story {n}"} for n in range(60)]
    rows[5]["story"] = ""
    rows[10]["story"] = rows[13]["story"].upper() + "!"
    file = write(own_folder / "stories.jsonl", rows)
    assert inspect([str(file)]) == 0
    shown = capsys.readouterr().out
    for line in (
        "columns     story, title\n",
        "source      jsonl, stories.jsonl, utf-8\n",
        "texts       59; ",
        "languages   Latin 100% (mostly English)\n",
        "duplicates  1, ignoring case, spaces and punctuation; ",
        "warning: 1 cannot be used, the first is row 6: the text is empty.\n",
        "are few to learn a language from; --model.name preset begins",
    ):
        assert line in shown
    written = yaml.safe_load(Path("configs/my_data.yaml").read_text())["data"]
    assert written == {
        "source": "jsonl",
        "path": str(file),
        "encoding": "utf-8",
        "text_column": "story",
    }
    data = load(load_config(["--config", "configs/my_data.yaml"], environment={}))
    assert sum(data.notes["texts"].values()) == 59


def test_chats(own_folder: Path) -> None:
    rows = [
        {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": text}]}
        for text in map(make_text, range(30))
    ]
    facts, _, fields = facts_of(write(own_folder / "c.jsonl", rows))
    assert fields["format"] == "chat"
    assert facts["messages"] == "median 2, at most 2; user 30, assistant 30"
    assert facts["context"].startswith("--model.context ")
    assert facts["chats"].startswith("30; ")


def test_preference_pairs(own_folder: Path) -> None:
    rows = [{"prompt": "Who?", "chosen": make_text(n), "rejected": "no"} for n in range(9)]
    _, warnings, fields = facts_of(write(own_folder / "p.jsonl", rows))
    assert fields["format"] == "preference"
    assert any("need --train.loss dpo" in warning for warning in warnings)


def test_one_text_in_another_encoding(own_folder: Path) -> None:
    file = own_folder / "t.txt"
    file.write_bytes("质量很好,我喜欢这个产品。今天天气很好。\n".encode("gb18030") * 50)
    facts, _, fields = facts_of(file)
    assert fields == {"source": "text", "path": str(file), "encoding": "gb18030"}
    assert facts["languages"] == "Chinese characters 100%"
    assert facts["division"].startswith("by position")


def test_folder_with_broken_files(own_folder: Path) -> None:
    folder = own_folder / "texts"
    folder.mkdir()
    for n in range(9):
        (folder / f"{n}.txt").write_text(make_text(n))
    (folder / "a.txt").write_bytes("größer".encode("cp1252"))
    (folder / "b.md").write_bytes(b"a\0b")
    _, warnings, fields = facts_of(folder)
    assert any("the first is a.txt: not utf-8 at byte 2" in warning for warning in warnings)
    assert any("the first is b.md: a NUL" in warning for warning in warnings)
    assert fields["max_unreadable"] == 0.19
    load(load_config([w for k, v in fields.items() for w in (f"--data.{k}", str(v))]))


def test_splits_of_a_column(own_folder: Path) -> None:
    parts = ("train", "dev", "test")
    rows = [{"text": make_text(n), "part": parts[n % 3]} for n in range(30)]
    facts, _, fields = facts_of(write(own_folder / "t.jsonl", rows))
    assert fields["split_column"] == "part"
    assert facts["splits"].startswith("column part: ")


def test_what_the_user_says_is_not_guessed(own_folder: Path) -> None:
    rows = [{"text": make_text(n), "other": f"{make_text(n)} again"} for n in range(30)]
    words = ["--data.text_column", "other"]
    _, _, fields = facts_of(write(own_folder / "t.jsonl", rows), *words)
    assert fields["text_column"] == "other"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b"{\n", "has no readable rows"),
        ("t.jsonl", b'{"n": 1}\n', "no column holds texts; found: n."),
        ("t.txt", b"", "has no text that can be used: t.txt: the text is empty."),
        ("t.bin", b"\0\1\2", "has no text that can be used: t.bin: a NUL at character 0"),
    ],
)
def test_nothing_to_learn_from(name: str, content: bytes, message: str, own_folder: Path) -> None:
    (own_folder / name).write_bytes(content)
    with pytest.raises(DataProblem, match=message):
        facts_of(own_folder / name)
