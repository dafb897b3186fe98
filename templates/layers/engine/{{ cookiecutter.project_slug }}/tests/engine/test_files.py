from contextlib import ExitStack
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.engine.files import (
    atomic_write,
    make_untracked_folder,
    project_root,
    write_text,
)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    write_text(file, "old")
    fail_half_way = ExitStack()
    beside = fail_half_way.enter_context(atomic_write(file))
    beside.write_text("half")
    error = OSError("disk full")
    assert not fail_half_way.__exit__(OSError, error, None)
    assert file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.txt", "pyproject.toml"]


def test_files_that_git_ignores(tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "here"
    make_untracked_folder(folder)
    assert (folder / ".gitignore").read_text() == "*\n"
    own = tmp_path / "own"
    own.mkdir()
    (own / "notes.txt").touch()
    make_untracked_folder(own)
    assert [path.name for path in own.iterdir()] == ["notes.txt"]


def test_project_root_is_found_from_below(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = own_folder / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project_root() == own_folder
