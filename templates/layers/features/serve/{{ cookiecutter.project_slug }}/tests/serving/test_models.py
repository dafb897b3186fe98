"""The project's own model in the service answers as ``predict_split`` does."""

import asyncio
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.requests import decode_bytes
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.serving.app import create_app
from {{ cookiecutter.package_name }}.engine.serving.models import LoadedModel, load_model
from {{ cookiecutter.package_name }}.engine.serving.sources import (
    Files,
    Source,
    open_files,
)
from {{ cookiecutter.package_name }}.task import task

from .client import ask, make_service

MAX_BATCH = 4


def load(**changes: Any) -> LoadedModel:
    """Load the newest run of the current project."""
    config = load_config()
    with open_files(Source("own", "latest"), find_run("latest").id, config) as files:
        own = Files(**(vars(files) | changes))
        return load_model("own", own, task, load_config(base=own.config_file), MAX_BATCH)


def list_targets(answer: dict[str, Any]) -> list[str]:
    told = answer["explanation"]
    return [one["target"] for one in (told if isinstance(told, list) else [told])]


def test_it_answers_as_predict_does(trained: Path) -> None:
    model = load()
    row, shown = model.example
    decoded = decode_bytes(row, model.schema)
    requests = task.read_requests([decoded] * 3, model.artifact.preprocessing, model.config)
    if task.respond is None:
        outputs = model.artifact.predict_split(requests.split, 3)
        np.testing.assert_allclose(model.predict(requests.split), outputs, atol=1e-5, rtol=1e-5)
        expected = task.decode_predictions(outputs, model.artifact.preprocessing)
    else:
        expected = task.respond(model.artifact, requests.split, model.config)

    async def test() -> None:
        service = make_service(model, max_batch=MAX_BATCH)
        app = create_app(service)
        answers = (await ask(app, "POST", "/predict", [row, row, row])).json()
        for answer, other in zip(answers, expected, strict=True):
            assert answer["prediction"] == other["prediction"] == shown["prediction"]
            for name, score in other.get("scores", {}).items():
                assert answer["scores"][name] == pytest.approx(score, abs=1e-5)
        told = (await ask(app, "POST", "/predict", [row], "explain=true")).json()
        if task.explain is None:
            assert "explain" in told["error"]
        else:
            model.artifact.add_explanations(requests.split, expected)
            assert list_targets(told[0]) == list_targets(expected[0])
        await service.close()

    asyncio.run(test())


def test_wrong_rows_do_not_spoil_the_others(trained: Path) -> None:
    model = load()
    row, _ = model.example
    wrong: list[Any] = [{}, {"no such field": 1}, 3, None, {name: [[1.5]] for name in row}]
    answers = model.answer([*wrong, row])[2]
    assert ["error" in answer for answer in answers] == [True] * len(wrong) + [False]


def test_a_file_that_was_changed_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="changed after the run had written it"):
        load(weights_sha256="0" * 64)
    with pytest.raises(DataProblem, match="does not exist"):
        load(model_file=tmp_path / "model.keras")
    half = tmp_path / "half.keras"
    half.write_bytes(find_run("latest").model_file.read_bytes()[:1000])
    with pytest.raises(DataProblem, match="damaged"):
        load(model_file=half)
    empty = tmp_path / "empty.keras"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("preprocessing.json", "{}")
    with pytest.raises(DataProblem, match=r"refused|not saved by this project|is no "):
        load(model_file=empty)


def test_examples_that_are_wrong_where_a_model_is_served_are_passed_over(trained: Path) -> None:
    wrong: dict[str, Any] = {"no such field": 1}

    def make_schema(preprocessing: Any, is_all_wrong: bool) -> dict[str, Any]:
        schema = task.request_schema(preprocessing)
        return schema | {"examples": [wrong] if is_all_wrong else [wrong, *schema["examples"]]}

    def load_with(is_all_wrong: bool) -> LoadedModel:
        schema = partial(make_schema, is_all_wrong=is_all_wrong)
        with open_files(Source("own", "latest"), find_run("latest").id, load_config()) as files:
            config = load_config(base=files.config_file)
            return load_model("own", files, replace(task, request_schema=schema), config, 1)

    assert load_with(is_all_wrong=False).example[0] != wrong
    with pytest.raises(DataProblem, match="no example of request_schema is right: "):
        load_with(is_all_wrong=True)
