"""What a service keeps of its requests."""

import errno
import gc
import json
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.interfaces import Requests, Split
from {{ cookiecutter.package_name }}.engine.monitoring import samples
from {{ cookiecutter.package_name }}.engine.monitoring.bins import SMALL
from {{ cookiecutter.package_name }}.engine.monitoring.hooks import after_answers
from {{ cookiecutter.package_name }}.engine.monitoring.profile import (
    INPUTS,
    NAME,
    PREDICTIONS,
    Profile,
    describe_columns,
)
from {{ cookiecutter.package_name }}.engine.monitoring.sections import MonitorFields

from ..engine import tiny

FOLDER = Path("kept")


@pytest.fixture(autouse=True)
def keepers() -> Iterator[None]:
    """The open files of samples, which are closed after each test."""
    yield
    for keeper in samples._keepers.values():
        keeper.close()
    samples._keepers.clear()
    samples._warnings.clear()


class Artifact(SimpleNamespace):
    """Stands for one; unlike its base, weak references to it are allowed."""


def make_model(is_private: bool, version: str = "1", registered_name: str = "") -> SimpleNamespace:
    """Return a model as the service has it, whose inputs are described by their ids."""
    task = tiny.make_task(
        "any",
        describe_inputs=lambda split, preprocessing: {"number": split.ids.astype("float64")},
        has_private_examples=is_private,
    )
    columns = {
        INPUTS: {"number": np.arange(1_000.0)},
        PREDICTIONS: {"prediction": np.array(["a", "b"] * 500)},
    }
    profile = Profile(
        {part: describe_columns(values, is_private) for part, values in columns.items()},
        {INPUTS: 1_000, PREDICTIONS: 1_000},
        is_private=is_private,
    )
    artifact = Artifact(attachments={NAME: profile.to_json()}, preprocessing=None)
    return SimpleNamespace(
        name="my model",
        version=version,
        registered_name=registered_name,
        artifact=artifact,
        config=Config(),
        task=task,
    )


def read(model: SimpleNamespace, *versions: str) -> samples.Sample:
    """Return what ``monitor`` reads of a model."""
    profile = samples.read_profile(model.artifact.attachments)
    assert profile is not None
    return samples.read_samples(FOLDER, versions or ["1"], profile, None)


def send(model: SimpleNamespace, size: int, wrong: int = 0, **fields: Any) -> None:
    """Answer rows, of which samples are kept in ``FOLDER``, with other ``MonitorFields``."""
    ids = np.arange(size).astype(str).astype(object)
    requests = Requests(
        Split(ids, np.array([]), lambda at: at), {size + i: "no" for i in range(wrong)}
    )
    answers = [{"prediction": "ab"[i % 2], "scores": {"a": 0.6, "b": 0.4}} for i in range(size)]
    given = MonitorFields(**{"samples": str(FOLDER), **fields})
    after_answers(SimpleNamespace(monitor=given), model, requests, answers)


def read_lines() -> list[dict]:
    files = sorted(FOLDER.glob("my_model/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_nothing_is_kept_unless_a_folder_is_named() -> None:
    send(make_model(is_private=False), 5, samples=None)
    assert not FOLDER.exists()


def test_rows_are_columns_and_not_inputs() -> None:
    model = make_model(is_private=False)
    send(model, 3, wrong=1)
    first, *others = read_lines()
    assert len(others) == 2
    assert first.keys() == {"time", "version", "rows", "rejected", INPUTS, PREDICTIONS}
    assert first[INPUTS] == {"number": 0.0}
    assert (FOLDER / ".gitignore").read_text() == "*\n"
    assert first[PREDICTIONS] == {"prediction": "a", "highest score": 0.6}
    profile = samples.read_profile(model.artifact.attachments)
    assert profile is not None
    sample = samples.read_samples(FOLDER, ["1"], profile, days=1)
    assert (sample.rows, sample.rejected) == (3, 1)
    assert sample.counts[PREDICTIONS]["prediction"].tolist() == [2, 1, 0, 0]
    with pytest.raises(DataProblem, match=r"no samples of 2 in 'kept'; there are some of 1\."):
        samples.read_samples(FOLDER, ["2"], profile, None)


def test_a_share_of_the_rows_is_kept() -> None:
    send(make_model(is_private=False), 1_000, rate=0.1)
    assert 50 < len(read_lines()) < 150


def test_files_are_bounded() -> None:
    model = make_model(is_private=False)
    for _ in range(3):
        send(model, 200, max_mb=0.02)
    assert len(list(FOLDER.glob("my_model/*.jsonl*"))) == 4
    assert sum(file.stat().st_size for file in FOLDER.glob("my_model/*")) < 20_000


def test_a_new_version_takes_over_the_files() -> None:
    send(make_model(is_private=False), 2)
    send(make_model(is_private=False, version="2"), 2)
    assert [line["version"] for line in read_lines()] == ["1", "1", "2", "2"]
    assert len(list(FOLDER.glob("my_model/*.jsonl"))) == 1


def test_of_persons_only_counts_of_many_rows_are_kept() -> None:
    model = make_model(is_private=True)
    send(model, samples.ROWS_AT_ONCE - 1)
    assert read_lines() == [], "they wait until they are many"
    send(model, 5)
    (line,) = read_lines()
    assert line["rows"] == samples.ROWS_AT_ONCE, "rounded, or missing ones could be had from it"
    for part in (INPUTS, PREDICTIONS):
        for counts in line[part].values():
            assert all(count == 0 or count >= SMALL for count in counts)
    profile = samples.read_profile(model.artifact.attachments)
    assert profile is not None
    sample = samples.read_samples(FOLDER, ["1"], profile, None)
    assert sample.counts[INPUTS]["number"].sum() > 480


def test_of_persons_nothing_is_kept_without_a_profile(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model(is_private=True)
    model.artifact.attachments = {}
    send(model, samples.ROWS_AT_ONCE)
    assert read_lines() == []
    assert "none are kept of my model, as it has no profile" in caplog.text


def test_versions_of_other_registered_models_are_left_out() -> None:
    send(make_model(is_private=False, version="3", registered_name="small"), 2)
    other = make_model(is_private=False, version="3", registered_name="large")
    send(other, 5)
    assert read(other, "large/3").rows == 5
    with pytest.raises(DataProblem, match=r"no samples of 3 in 'kept'; .* large/3, small/3\."):
        read(other, "3")


@pytest.mark.parametrize("is_private", [False, True])
def test_rows_that_are_all_wrong_count(is_private: bool) -> None:
    model = make_model(is_private)
    for _ in range(samples.ROWS_AT_ONCE):
        send(model, 0, wrong=1)
    sample = read(model)
    assert (sample.rows, sample.rejected) == (0, samples.ROWS_AT_ONCE)


def test_a_line_that_a_kill_has_cut_is_passed_over() -> None:
    model = make_model(is_private=False)
    send(model, 2)
    samples._keepers.pop("my model").close()
    (file,) = FOLDER.glob("my_model/*.jsonl")
    file.write_bytes(file.read_bytes()[:-20] + "é".encode()[:1])
    assert read(model).rows == 1, "somebody may be writing it"
    send(model, 3)
    sample = read(model)
    assert sample.rows == 4
    assert sample.source.endswith("; 1 damaged line passed over")


@pytest.mark.parametrize("text", ["[]", "{}", '{"time": 3}', '{"time": "x"}', "\0\0"])
def test_damaged_lines_are_passed_over(text: str) -> None:
    model = make_model(is_private=False)
    send(model, 1)
    (FOLDER / "my_model" / "7.jsonl").write_text(f"{text}\n")
    assert read(model).rows == 1


def test_files_that_are_renamed_meanwhile_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(is_private=False)
    send(model, 3)
    files = samples._keepers["my model"].files
    files.doRollover()
    send(model, 2)
    open_file, names = Path.open, list[str]()

    def open_and_rename(path: Path, *words: Any, **options: Any) -> Any:
        names.append(path.name)
        opened = open_file(path, *words, **options)
        if len(names) == 1:
            files.doRollover()
        return opened

    monkeypatch.setattr(Path, "open", open_and_rename)
    assert read(model).rows == 5
    assert names[0] == "0.jsonl"
    assert "0.jsonl.2" in names


def test_source_is_from_the_first_to_the_last_time() -> None:
    model = make_model(is_private=False)
    send(model, 1)
    (file,) = FOLDER.glob("my_model/*.jsonl")
    line = json.loads(file.read_text()) | {"time": "2020-01-01T00:00:00+00:00"}
    (FOLDER / "my_model" / "7.jsonl").write_text(f"{json.dumps(line)}\n")
    assert read(model).source.startswith("samples from 2020-01-01T00:00:00+00:00 to 2")


@pytest.mark.parametrize("is_private", [False, True])
def test_a_full_disk_is_reported_once(
    is_private: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = make_model(is_private)
    send(model, 1)
    with monkeypatch.context() as patch:
        patch.setattr(samples.SampleFiles, "flush", fail)
        for _ in range(3):
            send(model, samples.ROWS_AT_ONCE)
    assert [record.getMessage() for record in caplog.records] == [
        "monitor.samples: none are kept of my model in 'kept': No space left on device."
    ]
    assert capsys.readouterr().err == ""
    send(model, samples.ROWS_AT_ONCE)
    assert read(model).rows >= samples.ROWS_AT_ONCE


def test_a_folder_that_is_none_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    FOLDER.write_text("")
    for _ in range(3):
        send(make_model(is_private=False), 1)
    (record,) = caplog.records
    assert record.getMessage().startswith("monitor.samples: none are kept of my model in 'kept': ")


def test_nothing_of_the_model_is_held() -> None:
    model = make_model(is_private=False)
    send(model, 1)
    artifact = weakref.ref(model.artifact)
    del model
    gc.collect()
    assert artifact() is None
