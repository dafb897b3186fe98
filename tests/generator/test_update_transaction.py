"""Changes of a project's files, all or none: written down, applied, finished, taken back."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.errors import AistartError
from aistart.update.plan import Change, OpenConflict, Plan, find_obstacles
from aistart.update.transaction import Transaction, lock
from aistart.update.trees import EXECUTABLE, FILE, LINK, Entry, read_entry

Tree = dict[str, Entry]
BEFORE: Tree = {
    "a.txt": Entry(FILE, b"a\n"),
    "gone/deep/b.txt": Entry(FILE, b"b\r\n"),
    "run.sh": Entry(EXECUTABLE, b"#!/bin/sh\n"),
    "was_file": Entry(FILE, b"\0\xff"),
    "was_folder/x.txt": Entry(FILE, b"x"),
    "link": Entry(LINK, b"./a.txt"),
    "kept.txt": Entry(FILE, b"kept\n"),
    ".aistart/answers.toml": Entry(FILE, b"old\n"),
}
AFTER: Tree = {
    "a.txt": Entry(EXECUTABLE, b"A\n"),
    "run.sh": Entry(FILE, b"#!/bin/bash\n"),
    "was_file/y.txt": Entry(FILE, b"y"),
    "was_folder": Entry(FILE, b"file now"),
    "link": Entry(FILE, b"no link\n"),
    "new/link": Entry(LINK, b"../kept.txt"),
    "kept.txt": Entry(FILE, b"kept\n"),
    ".aistart/answers.toml": Entry(FILE, b"new\n"),
}


def write_tree(project: Path, tree: Tree) -> None:
    for path, entry in tree.items():
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == LINK:
            target.symlink_to(os.fsdecode(entry.content))
        else:
            target.write_bytes(entry.content)
            target.chmod(0o755 if entry.mode == EXECUTABLE else 0o644)


def read_tree(project: Path) -> Tree:
    """Read all files and links of a project but the state of its update."""
    names = (path.relative_to(project).as_posix() for path in project.rglob("*"))
    entries = {
        name: read_entry(project / name) for name in names if not name.startswith(".aistart/update")
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def make_plan(before: Tree = BEFORE, after: Tree = AFTER, conflicts: bool = False) -> Plan:
    changes = [
        Change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
    record = [change for change in changes if change.path.startswith(".aistart")]
    files = [change for change in changes if change not in record]
    open_conflicts = [OpenConflict("a.txt", "both", theirs=True)] if conflicts else []
    return Plan("the update", files, record, open_conflicts, {"a.txt": Entry(FILE, b"t")}, ["New."])


@pytest.fixture
def project(isolated: Path) -> Path:
    write_tree(isolated / "p", BEFORE)
    return isolated / "p"


def test_files_become_what_is_planned(project: Path) -> None:
    transaction = Transaction.begin(project, make_plan())
    assert read_tree(project) == BEFORE
    transaction.apply()
    assert read_tree(project) == AFTER
    assert transaction.is_finished
    assert transaction.notes == ["New."]
    assert not (project / "gone").exists()
    assert Transaction.find(project) is None
    assert sorted(path.name for path in (project / ".aistart/update").iterdir()) == [
        ".gitignore",
        "last",
    ]
    backup = project / ".aistart/update/last/backup"
    assert (backup / "gone/deep/b.txt").read_bytes() == b"b\r\n"


def test_record_waits_for_decisions(project: Path) -> None:
    transaction = Transaction.begin(project, make_plan(conflicts=True))
    transaction.apply()
    waiting = Transaction.find(project)
    assert waiting is not None
    assert waiting.stage == "undecided"
    assert (project / waiting.theirs("a.txt")).read_bytes() == b"t"
    assert read_tree(project) == AFTER | {".aistart/answers.toml": BEFORE[".aistart/answers.toml"]}
    waiting.finish()
    assert read_tree(project) == AFTER


def test_abort_restores_every_byte_and_keeps_what_changed_since(project: Path) -> None:
    (project / "a.txt").chmod(0o600)
    transaction = Transaction.begin(project, make_plan(conflicts=True))
    transaction.apply()
    assert stat.S_IMODE((project / "a.txt").stat().st_mode) == 0o700
    (project / "a.txt").write_text("since\n")
    (project / "was_file/mine.txt").write_text("mine\n")
    (project / "gone").write_text("in the way\n")
    kept = transaction.abort()
    state = project / ".aistart/update"
    assert read_tree(project) == BEFORE
    assert stat.S_IMODE((project / "a.txt").stat().st_mode) == 0o600
    assert {path: (project / path).read_text() for path in kept} == {
        ".aistart/update/yours/a.txt": "since\n",
        ".aistart/update/yours/was_file/mine.txt": "mine\n",
        ".aistart/update/yours/gone": "in the way\n",
    }
    assert sorted(path.name for path in state.iterdir()) == [".gitignore", "yours"]


@pytest.mark.parametrize("conflicts", [False, True])
@pytest.mark.parametrize("way", ["on", "back"])
def test_stopped_before_every_step(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, conflicts: bool, way: str
) -> None:
    """Whatever the step before which the program dies, the next one goes on or back."""
    monkeypatch.setattr("aistart.update.transaction.flush", lambda paths: list(paths))
    number = 0
    while True:
        number += 1
        project = isolated / str(number)
        write_tree(project, BEFORE)
        earlier = project / ".aistart/update/last/earlier"
        write_tree(project, {".aistart/update/last/earlier": Entry(FILE, b"")})
        with monkeypatch.context() as patch:
            steps = stop_before(patch, number)
            try:
                Transaction.begin(project, make_plan(conflicts=conflicts)).apply()
            except Killed:
                pass
            else:
                assert number > 30
                return
            assert steps()
        present = Transaction.find(project)
        if present is None:
            assert read_tree(project) in (BEFORE, AFTER)
            continue
        if way == "back":
            assert present.abort() == []
            assert read_tree(project) == BEFORE
            assert earlier.exists()
            continue
        if present.stage == "applying":
            present.apply()
        if conflicts:
            present.finish()
        assert read_tree(project) == AFTER


@pytest.mark.parametrize("conflicts", [False, True])
def test_what_the_user_changes_before_it_goes_on_is_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch, conflicts: bool
) -> None:
    def stop(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("aistart.update.transaction.put", stop)
        with pytest.raises(Killed):
            Transaction.begin(project, make_plan(conflicts=conflicts)).apply()
    (project / "a.txt").write_text("since\n")
    (project / "new").mkdir()
    (project / "new/link").write_text("mine\n")
    present = Transaction.find(project)
    assert present is not None
    present.apply()
    assert {path: (project / path).read_text() for path in present.kept} == {
        ".aistart/update/yours/a.txt": "since\n",
        ".aistart/update/yours/new/link": "mine\n",
    }
    if conflicts:
        present.finish()
    assert read_tree(project) == AFTER
    Transaction.begin(project, make_plan(AFTER, BEFORE)).apply()
    assert (project / present.kept[0]).exists()


def test_changes_that_somebody_takes_back(project: Path) -> None:
    transaction = Transaction.begin(project, make_plan(conflicts=True))
    transaction.apply()
    assert not transaction.is_undone
    for name in ("was_folder", "link", "run.sh", "was_file/y.txt"):
        (project / name).unlink()
    (project / "was_file").rmdir()
    left = {"a.txt", "kept.txt", ".aistart/answers.toml"}
    write_tree(project, {name: entry for name, entry in BEFORE.items() if name not in left})
    assert not transaction.is_undone  # one conflict is decided, the rest may be unwanted
    (project / "a.txt").write_bytes(BEFORE["a.txt"].content)
    assert transaction.is_undone


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}'])
def test_broken_plan(project: Path, content: str) -> None:
    Transaction.begin(project, make_plan())
    state = project / ".aistart/update/current"
    (state / "plan.json").write_text(content)
    with pytest.raises(AistartError, match=r"copy back what you need, then remove .*current\.$"):
        Transaction.find(project)


class Killed(BaseException):
    """Stands for SIGKILL: nothing is cleaned up."""


def stop_before(patch: pytest.MonkeyPatch, number: int) -> Callable[[], bool]:
    """Raise ``Killed`` in the place of the ``number``-th change of the file system, and of all
    that follow."""
    count = 0

    def wrap(name: str) -> None:
        original = getattr(Path, name)

        def step(self: Path, *words: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count >= number:
                raise Killed
            return original(self, *words, **options)

        patch.setattr(Path, name, step)

    for name in ("rename", "replace", "unlink", "symlink_to", "rmdir", "mkdir", "write_bytes"):
        wrap(name)
    patch.setattr("shutil.rmtree", lambda *words, **options: None)
    return lambda: count >= number


def test_failing_step_takes_everything_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == project / "was_folder" and self.parts[-2] == "new":
            raise OSError(28, "No space left on device", str(target))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    transaction = Transaction.begin(project, make_plan())
    with pytest.raises(AistartError, match="No space left on device; the project is as it was"):
        transaction.apply()
    assert read_tree(project) == BEFORE
    assert Transaction.find(project) is None


def test_file_that_changes_while_it_is_read(project: Path) -> None:
    plan = make_plan()
    (project / "a.txt").write_text("just now\n")
    with pytest.raises(AistartError, match=r"a\.txt: it changed while it was read"):
        Transaction.begin(project, plan)
    assert Transaction.find(project) is None
    assert (project / "a.txt").read_text() == "just now\n"


def test_what_is_in_the_way(project: Path, isolated: Path) -> None:
    write_tree(isolated / "outside", {"x": Entry(FILE, b"x")})
    (project / "out").symlink_to(isolated / "outside")
    (project / "module/.git").mkdir(parents=True)
    (project / "full").mkdir()
    (project / "full/mine").touch()
    os.mkfifo(project / "pipe")
    new = Entry(FILE, b"n")
    paths = ["out/x", "module/x", "full", "kept.txt/x", ".git/hooks/x", "../x", "fine/x", "a.txt"]
    paths.append("pipe")
    assert find_obstacles(project, [Change(path, None, new) for path in paths]) == {
        "out/x": "out is a symbolic link",
        "module/x": "module is a repository of its own, such as a submodule",
        "full": "a folder with files of yours is there",
        "kept.txt/x": "kept.txt is a file",
        "a.txt": "a file of yours is there",
        ".git/hooks/x": "no update writes there",
        "../x": "no update writes there",
        "pipe": "a file of yours is there",
    }


def test_one_at_a_time(project: Path) -> None:
    with (
        lock(project),
        pytest.raises(AistartError, match="another aistart changes this project right now"),
        lock(project),
    ):
        pass


def test_backup_stays_until_the_next_success(project: Path) -> None:
    Transaction.begin(project, make_plan()).apply()
    backup = project / ".aistart/update/last/backup"
    second = make_plan(AFTER, {**AFTER, "kept.txt": Entry(FILE, b"2\n")}, conflicts=True)
    transaction = Transaction.begin(project, second)
    transaction.apply()
    assert (backup / "was_file").read_bytes() == b"\0\xff"
    transaction.finish()
    assert sorted(path.name for path in backup.iterdir()) == ["kept.txt"]
