"""API keys: shown once, kept as hashes in a file that only its owner reads."""

import json
import stat
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.engine.errors import DataProblem, UsageProblem
from {{ cookiecutter.package_name }}.engine.serving import keys

serve = program.script("serve")


def test_a_key_is_shown_once(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(["keys", "add", "shop"]) == 0
    key = capsys.readouterr().out.strip()
    file = own_folder / ".env.keys.json"
    assert key not in file.read_text()
    assert len(key) == 43, "256 bits"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keys.Keys(file).find(key) == "shop"
    assert keys.Keys(file).find(key[:-1] + "!") is None
    assert serve(["keys", "list"]) == 0
    assert capsys.readouterr().out == "shop\n"


def test_names_are_checked(own_folder: Path) -> None:
    file = own_folder / "keys.json"
    keys.add(file, "shop")
    with pytest.raises(UsageProblem, match="'shop' has a key"):
        keys.add(file, "shop")
    with pytest.raises(UsageProblem, match="is no name"):
        keys.add(file, "../x")
    with pytest.raises(UsageProblem, match="Did you mean 'shop'"):
        keys.remove(file, "shopp")


def test_a_removed_key_is_refused_by_a_running_service(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    file = own_folder / "keys.json"
    key, other = keys.add(file, "shop"), keys.add(file, "app")
    known = keys.Keys(file)
    assert known.find(key) == "shop"
    keys.remove(file, "shop")
    assert known.find(key) is None
    assert known.find(other) == "app"
    file.unlink()
    assert known.find(other) is None


def test_a_file_that_nobody_may_read_counts_as_empty(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    events = keys.request_log.events
    monkeypatch.setattr(events, "propagate", True)
    file = own_folder / "keys.json"
    key = keys.add(file, "shop")
    known = keys.Keys(file)

    def refuse(*words: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        file.touch()
        assert known.find(key) is None
        assert known.find(key) is None
        assert [record.message for record in caplog.records] == [
            "no key is valid: the file of keys cannot be read"
        ]
        with pytest.raises(DataProblem, match="cannot be read: Permission denied"):
            keys.Keys(file)
    assert known.find(key) == "shop"


def test_a_file_keeps_its_mode_and_its_owner(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own_folder / "keys.json"
    keys.add(file, "shop")
    assert not keys.Keys(file).is_open
    file.chmod(0o644)
    keys.add(file, "app")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert keys.Keys(file).is_open

    def refuse(*words: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(keys.os, "chown", refuse)
    with pytest.raises(DataProblem, match="belongs to another user"):
        keys.remove(file, "app")
    assert keys.names(file) == ["shop", "app"]
    assert [path.name for path in own_folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"keys": [{"name": "x"}]})])
def test_a_damaged_file_is_refused(own_folder: Path, content: str) -> None:
    file = own_folder / "keys.json"
    file.write_text(content)
    with pytest.raises(DataProblem, match="is no file of keys"):
        keys.Keys(file)


def test_without_its_file_nothing_is_served(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(["--serve.keys_file", "missing.json"]) == 3
    assert "'missing.json' does not exist; make a key: serve keys add" in capsys.readouterr().err
