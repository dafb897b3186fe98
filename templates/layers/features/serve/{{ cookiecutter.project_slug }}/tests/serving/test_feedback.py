"""Feedback on predictions is kept as data: bounded, whole, and of patients nothing."""

import asyncio
import base64
import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.engine.serving.app import create_app
from {{ cookiecutter.package_name }}.engine.serving.feedback_files import (
    FeedbackFiles,
    Opinion,
)
from {{ cookiecutter.package_name }}.engine.serving.problems import Refused

from .client import Answer, EchoModel, ask, make_service

PNG = b"\x89PNG\r\n\x1a\n"
TEXT = {"text": {"type": "string", "contentMediaType": "text/plain"}}
IMAGE = {"image": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}}
EVENTS = {"user": {"type": "string"}, "history": {"type": "array", "x-separator": "|"}}


class TextModel(EchoModel):
    """Says that every text is good."""

    def _answer(self, row: Any, explain: bool) -> dict[str, Any]:
        if not isinstance(row.get("text"), str):
            return {"error": "text: it is missing."}
        return {"prediction": "good", "scores": {"good": 0.75, "bad": 0.25}}


def make_model(properties: dict[str, Any], private: bool = False) -> EchoModel:
    task = SimpleNamespace(notice="", has_private_examples=private)
    return TextModel(name="demo", schema={"properties": properties}, task=task)


def send(folder: Path, content: Any, model: EchoModel | None = None, **headers: str) -> Answer:
    """Send feedback to a service that keeps it in the folder."""
    served = model or make_model(TEXT)

    async def main() -> Answer:
        service = make_service(served, feedback=str(folder))
        try:
            return await ask(create_app(service), "POST", "/feedback", content, **headers)
        finally:
            await service.close()

    return asyncio.run(main())


def keep(folder: Path, properties: dict[str, Any], row: dict[str, Any], **opinion: Any) -> Path:
    """Keep an opinion that is right unless it says otherwise; return the folder of the model."""
    known = {"prediction": "good", "is_right": True} | opinion
    FeedbackFiles(folder).keep(make_model(properties), Opinion(row, **known))
    return folder / "demo"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_text_is_kept_with_its_right_answer(tmp_path: Path) -> None:
    text = 'a "quoted",\nline =cmd() \u202e'
    row = {"row": {"text": text}, "prediction": "good"}
    for content in (
        {"verdict": "up", **row},
        {"verdict": "down", "answer": "bad", **row},
        {"verdict": "down", **row},
    ):
        assert send(tmp_path, content).status == 200
    rows = [{"text": text, "label": "good"}, {"text": text, "label": "bad"}]
    assert read_csv(tmp_path / "demo/texts.csv") == rows
    lines = (tmp_path / "demo/verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["good", "bad", None]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"verdict": "up", "row": {"text": "a"}, "prediction": "bad"}, 409),
        ({"verdict": "down", "row": {"text": "a"}, "answer": "../../x"}, 422),
        ({"verdict": "up", "row": {"text": 1}}, 422),
        ({"verdict": "up", "row": {}}, 422),
        ({"verdict": "maybe", "row": {"text": "a"}}, 422),
        ({"verdict": "up", "row": {"text": "a"}, "folder": "/"}, 422),
        ({"verdict": "up", "row": {"text": "a"}, "model": "../demo"}, 404),
        ([], 422),
    ],
)
def test_what_cannot_be_true_is_refused(tmp_path: Path, content: Any, status: int) -> None:
    answer = send(tmp_path / "kept", content)
    assert answer.status == status
    assert str(tmp_path) not in answer.json()["error"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [".gitignore"]


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    # A page of another origin can send this type without asking.
    assert send(tmp_path, b'{"verdict": "up"}', content_type="text/plain").status == 415
    for content in (b"{" * 5000, b"[" * 50_000, b"\xff", b""):
        assert send(tmp_path, content, content_type="application/json").status == 400


def test_nothing_of_patients_is_kept(tmp_path: Path) -> None:
    model = make_model({"age": {"type": "number"}}, private=True)
    assert send(tmp_path, {"verdict": "up", "row": {"age": 81}}, model).status == 422
    assert send(tmp_path, {"verdict": "up", "prediction": "ill"}, model).status == 422
    assert send(tmp_path, {"verdict": "up"}, model).status == 200
    (line,) = (tmp_path / "demo/verdicts.jsonl").read_text().splitlines()
    assert set(json.loads(line)) == {"day", "model", "version", "verdict"}


@pytest.mark.parametrize(
    "label",
    ["../x", "..", "/etc", "a/b", "a\\b", "con", "", "\u202egnp", "x" * 300, " a", "猫", "7"],
)
def test_images_lie_in_folders_of_their_classes(tmp_path: Path, label: str) -> None:
    row = {"image": base64.b64encode(PNG).decode()}
    opinion = {"prediction": "other", "is_right": False, "answer": label}
    for _ in range(2):
        keep(tmp_path / "kept", IMAGE, row, **opinion)
    files = [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.csv")]
    assert all(path.is_relative_to(tmp_path / "kept/demo") for path in files)
    if not label:
        assert files == []
        return
    (image,) = (tmp_path / "kept/demo").glob("images/*/*.png")
    assert image.read_bytes() == PNG
    assert (image.parent.name == label) == (label in ("猫", "7"))
    named = {"path": image.relative_to(tmp_path / "kept/demo").as_posix(), "label": label}
    assert read_csv(tmp_path / "kept/demo/images.csv") == [named, named]


def test_what_was_right_for_a_user_is_an_event(tmp_path: Path) -> None:
    keep(tmp_path, EVENTS, {"user": "u1", "history": ["a"]}, prediction="c")
    folder = keep(tmp_path, EVENTS, {"history": "a|b"}, prediction="c")
    first, *others = read_csv(folder / "events.csv")
    assert (first["user"], first["item"]) == ("u1", "c")
    assert [row["item"] for row in others] == ["a", "b", "c"]
    assert len({row["user"] for row in others}) == 1
    assert sorted(row["timestamp"] for row in others) == [row["timestamp"] for row in others]


def test_a_table_has_a_column_for_each_property(tmp_path: Path) -> None:
    folder = keep(tmp_path, {"a": {"type": "number"}, "b": {"type": "string"}}, {"a": 1})
    assert read_csv(folder / "rows.csv") == [{"a": "1", "b": "", "label": "good"}]


def test_a_full_folder_takes_nothing(tmp_path: Path) -> None:
    files = FeedbackFiles(tmp_path, max_bytes=300)
    model, opinion = make_model(TEXT), Opinion({"text": "a" * 20}, "good", is_right=True)
    files.keep(model, opinion)
    with pytest.raises(Refused, match="full"):
        files.keep(model, opinion)
    with pytest.raises(Refused, match="full"):
        FeedbackFiles(tmp_path, max_bytes=200).keep_verdict(model, "up")
    assert len(read_csv(tmp_path / "demo/texts.csv")) == 1


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    folder = keep(tmp_path, TEXT, {"text": "a"})
    with (folder / "verdicts.jsonl").open("a") as file:
        file.write('{"time": "20')
    keep(tmp_path, TEXT, {"text": "b"})
    lines = (folder / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in (lines[0], lines[2])] == ["up", "up"]
