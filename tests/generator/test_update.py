"""``aistart update`` and its kin, as their users meet them. No edit of theirs is lost."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from aistart import __version__
from tests.generator.small_disks import mount_small_disk
from tests.generator.test_faults import AISTART, start_program
from tests.generator.updates import commit, read_project, run_git, write_files, write_template

Call = Callable[..., Result]
TEXT = "".join(f"line {number}\n" for number in range(1, 21))
FILES = {
    "README.md": "# Demo\n",
    "src/model.py": TEXT,
    "src/data.py": TEXT,
    "tool.sh*": "#!/bin/sh\n",
    "picture.bin": b"\0one",
    "old.txt": "old\n",
    ".gitignore": "/runs/\n",
}


def edit(text: str, line: int, to: str) -> str:
    return text.replace(f"line {line}\n", f"{to}\n")


@pytest.fixture
def project(aistart: Call, isolated: Path) -> Path:
    """A project of the first version of a template in the folder ``template``."""
    write_template(isolated / "template", FILES)
    result = aistart("new", "./template", "demo", "-y", "--trust", "-q")
    assert result.exit_code == 0, result.output
    return isolated / "demo"


@pytest.fixture
def update(aistart: Call, project: Path) -> Callable[..., Result]:
    def call(*words: str, code: int = 0) -> Result:
        result = aistart("update", str(project), "--trust", *words)
        assert result.exit_code == code, result.output
        return result

    return call


Update = Callable[..., Result]


def change_template(isolated: Path, **changes: str | bytes | None) -> dict[str, str | bytes]:
    """Change the template's files; None removes one. ``__`` in a name stands for a dot."""
    named = {name.replace("__", "."): content for name, content in changes.items()}
    files = {**FILES, **named}
    present = {name: content for name, content in files.items() if content is not None}
    write_template(isolated / "template", present)
    return present


# === 33: what becomes of files ===


def test_nothing_to_do(update: Update, project: Path) -> None:
    before = read_project(project)
    assert update().output.endswith(f"\nNothing to do: template {__version__} is up to date.\n")
    assert update("--check").output.endswith(f"\nUp to date: template {__version__}.\n")
    assert read_project(project) == before


def test_unedited_project_equals_a_fresh_render(
    aistart: Call, update: Update, project: Path, isolated: Path
) -> None:
    files = {
        "README.md": "# Demo 2\n",
        "src/model.py": edit(TEXT, 3, "three"),
        "src/moved/data.py": TEXT,
        "tool.sh": "#!/bin/sh\n",
        "picture.bin*": b"\0two",
        ".gitignore": "/runs/\n",
        "link@": "src/model.py",
    }
    write_template(isolated / "template", files)
    update()
    aistart("new", "./template", "demo", "-y", "--trust", "-q", "-o", "fresh", "--no-git")
    fresh = read_project(isolated / "fresh/demo", record=False)
    assert read_project(project, record=False) == fresh
    assert update("--check").exit_code == 0


def test_groups(update: Update, project: Path, isolated: Path) -> None:
    write_template(
        isolated / "template",
        {
            **{name: content for name, content in FILES.items() if name != "old.txt"},
            "README.md": "# Demo 2\n",
            "src/model.py": edit(TEXT, 3, "three"),
            "src/data.py": edit(TEXT, 3, "three"),
            "new.txt": "new\n",
            "picture.bin": b"\0two",
        },
    )
    (project / "src/model.py").write_text(edit(TEXT, 15, "mine"))
    (project / "src/data.py").write_text(edit(TEXT, 3, "my three"))
    (project / "tool.sh").write_text("#!/bin/sh\necho mine\n")
    (project / "picture.bin").unlink()
    (project / "own.py").write_text("mine = 1\n")
    commit(project)
    before = read_project(project)
    looked = update("--dry-run")
    assert looked.output.partition("Jinja")[2].partition("\n")[2] == (
        f"template {__version__}\n\n"
        "1 updated, 1 merged, 1 new, 1 removed, 2 kept, 1 conflict.\n\n"
        "Updated (1):\n  README.md\n\n"
        "Merged with your edits (1):\n  src/model.py\n\n"
        "New (1):\n  new.txt\n\n"
        "Removed (1):\n  old.txt\n\n"
        "Kept as yours (2):\n  picture.bin\n    you deleted it\n  tool.sh\n\n"
        "Conflicts (1):\n  src/data.py\n"
        "    both changed the same lines: search for '<<<<<<< yours'\n"
    )
    assert read_project(project) == before
    patch = update("--dry-run", "--diff").output
    assert "\ndiff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n" in patch
    assert "\n-line 3\n+three\n line 4\n" in patch
    due = update("--check", code=1).output
    assert due.endswith(f"An update is due: template {__version__}, 5 files, 1 conflict.\n")
    assert read_project(project) == before

    said = update(code=1).output
    assert said.endswith(
        "1 file needs a decision:\n  src/data.py\n"
        "    both changed the same lines: search for '<<<<<<< yours'\n\n"
        f"When that is done:\n  aistart update {project} --continue\n"
        f"To go back to the files as they were:\n  aistart update {project} --abort\n"
    )
    assert (
        "line 2\n<<<<<<< yours\nmy three\n=======\nthree\n>>>>>>> "
        in (project / "src/data.py").read_text()
    )
    merged = edit(edit(TEXT, 15, "mine"), 3, "three")
    assert (project / "src/model.py").read_text() == merged
    assert (project / "own.py").read_text() == "mine = 1\n"
    after = read_project(project)
    assert {name: after[name] for name in after if name.startswith(".aistart")} == {
        name: before[name] for name in before if name.startswith(".aistart")
    }


@pytest.fixture
def waiting_project(update: Update, project: Path, isolated: Path) -> Path:
    """The project, in which an update waits for a decision on ``src/data.py``."""
    changed = {"src/data.py": edit(TEXT, 3, "three"), "picture.bin": b"\0two"}
    write_template(isolated / "template", {**FILES, **changed, "new.txt": "n\n", "old.txt": "2\n"})
    (project / "src/data.py").write_text(edit(TEXT, 3, "my three"))
    (project / "picture.bin").write_bytes(b"\0mine")
    commit(project)
    update(code=1)
    return project


def test_continue_refuses_markers(
    aistart: Call, update: Update, waiting_project: Path, isolated: Path
) -> None:
    waiting = aistart("update", str(waiting_project), "--continue")
    assert waiting.exit_code == 1
    assert waiting.output.startswith("1 file needs a decision:\n  src/data.py\n")
    for words in ([], ["--dry-run"], ["--check"]):
        refused = aistart("update", str(waiting_project), *words, "--trust")
        assert refused.exit_code == 2
        assert refused.output.startswith("Error: the update (template ")
        assert (
            "waits for your decision on picture.bin, src/data.py; then `aistart " in refused.output
        )
    (waiting_project / "src/data.py").write_text(edit(TEXT, 3, "our three"))
    done = aistart("update", str(waiting_project), "--continue")
    assert done.exit_code == 0, done.output
    assert done.output.endswith("The files before the update are in .aistart/update/last/backup.\n")
    assert (waiting_project / "picture.bin").read_bytes() == b"\0mine"
    last = waiting_project / ".aistart/update/last"
    assert (last / "theirs/picture.bin").read_bytes() == b"\0two"
    assert (last / "backup/src/data.py").read_text() == edit(TEXT, 3, "my three")
    commit(waiting_project)
    assert update("--check").exit_code == 0


def test_abort(aistart: Call, update: Update, waiting_project: Path) -> None:
    (waiting_project / "src/data.py").write_text("half resolved\n")
    done = aistart("update", str(waiting_project), "--abort")
    assert done.exit_code == 0
    assert done.output == (
        "All files are as they were before the update.\n"
        "What you changed since is kept in:\n  .aistart/update/yours/src/data.py\n"
    )
    assert run_git(waiting_project, "status", "--porcelain") == ""
    assert (waiting_project / ".aistart/update/yours/src/data.py").read_text() == "half resolved\n"
    for word in ("--abort", "--continue"):
        nothing = aistart("update", str(waiting_project), word)
        assert nothing.exit_code == 2
        assert nothing.output.startswith(
            f"Error: {waiting_project}: no update has begun that is not finished."
        )
    update(code=1)  # the same again


def test_continue_refuses_what_was_taken_back(aistart: Call, waiting_project: Path) -> None:
    run_git(waiting_project, "checkout", "-q", "--", ".")
    refused = aistart("update", str(waiting_project), "--continue")
    assert refused.exit_code == 2
    assert refused.output.startswith("Error: the files are as they were before the update (templ")
    assert "--abort`, and update again.\n" in refused.output
    assert aistart("update", str(waiting_project), "--abort").exit_code == 0


def test_half_an_update_is_shown_by_status(aistart: Call, waiting_project: Path) -> None:
    assert aistart("status", str(waiting_project)).output.splitlines()[1].endswith("  not finished")
    assert (
        json.loads(aistart("status", str(waiting_project), "--json").output)[0]["pending"] is True
    )


EDITS: dict[str, tuple[Callable[[Path], object], dict[str, str | bytes | None]]] = {
    "a file where the template brings one": (
        lambda p: (p / "new.txt").write_text("mine\n"),
        {"new.txt": "theirs\n"},
    ),
    "a folder where the template brings a file": (
        lambda p: write_files(p, {"new.txt/mine.txt": "mine\n"}),
        {"new.txt": "theirs\n"},
    ),
    "a file where the template brings a folder": (
        lambda p: (p / "new").write_text("mine\n"),
        {"new/a.txt": "theirs\n"},
    ),
    "an ignored file where the template brings one": (
        lambda p: write_files(p, {"runs/1/log.txt": "mine\n"}),
        {"runs/1/log.txt": "theirs\n"},
    ),
    "a link to elsewhere in the place of a folder": (
        lambda p: (shutil.move(p / "src", p.parent / "src"), (p / "src").symlink_to("../src")),
        {"src/model.py": edit(TEXT, 3, "three"), "src/new.py": "new\n"},
    ),
    "a link in the place of a file": (
        lambda p: ((p / "README.md").unlink(), (p / "README.md").symlink_to("old.txt")),
        {"README.md": "# Demo 2\n"},
    ),
    "carriage returns": (
        lambda p: (p / "src/model.py").write_bytes(TEXT.replace("\n", "\r\n").encode()),
        {"src/model.py": edit(TEXT, 3, "three")},
    ),
    "deleted and changed": (lambda p: (p / "src/data.py").unlink(), {"src/data.py": "other\n"}),
    "changed and removed": (
        lambda p: (p / "src/data.py").write_text(edit(TEXT, 3, "mine")),
        {"src/data.py": None},
    ),
    "renamed and changed": (
        lambda p: (p / "src/data.py").rename(p / "src/sets.py"),
        {"src/data.py": edit(TEXT, 3, "three")},
    ),
    "made executable and changed": (
        lambda p: (p / "README.md").chmod(0o755),
        {"README.md": "# Demo 2\n"},
    ),
    "binary on both sides": (
        lambda p: (p / "picture.bin").write_bytes(b"\0mine"),
        {"picture.bin": b"\0two"},
    ),
    "a file that became a folder": (
        lambda p: ((p / "old.txt").unlink(), write_files(p, {"old.txt/a": "mine\n"})),
        {"old.txt": "older\n"},
    ),
    "a file that the template makes a folder": (
        lambda p: (p / "old.txt").write_text("mine\n"),
        {"old.txt": None, "old.txt/a.txt": "theirs\n"},
    ),
    "a name of bytes that are no text": (
        lambda p: Path(os.fsdecode(os.fsencode(p) + b"/\xff.txt")).write_text("mine\n"),
        {"README.md": "# Demo 2\n"},
    ),
    "a file without permissions": (
        lambda p: ((p / "README.md").write_text("# Mine\n"), (p / "README.md").chmod(0o400)),
        {"README.md": "# Demo\nmore\n"},
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_nothing_of_the_users_is_lost(
    aistart: Call, update: Update, project: Path, isolated: Path, case: str
) -> None:
    edit_project, changes = EDITS[case]
    edit_project(project)
    commit(project)
    before = read_project(project)
    outside = read_project(isolated / "src") if (isolated / "src").exists() else None
    files = {**FILES, **changes}
    write_template(isolated / "template", {k: v for k, v in files.items() if v is not None})
    result = aistart("update", str(project), "--trust")
    assert result.exit_code in (0, 1), result.output
    after = read_project(project)
    state = project / ".aistart/update" / ("current" if result.exit_code else "last")
    backup = {content for _, content in read_project(state / "backup").values()}
    kept = {content for _, content in after.values()} | backup
    lost = {name for name, (_, content) in before.items() if content not in kept}
    assert lost == set()
    if (isolated / "src").exists():
        assert read_project(isolated / "src") == outside
    if result.exit_code == 1:
        assert "needs a decision" in result.output or "need a decision" in result.output
        assert aistart("update", str(project), "--abort").exit_code == 0
        assert read_project(project) == before


def test_mode_of_a_file_is_kept(update: Update, project: Path, isolated: Path) -> None:
    (project / "README.md").chmod(0o640)
    (project / "tool.sh").chmod(0o500)
    (project / "src/mine.py").touch(0o600)
    changed = {
        "README.md": "# 2\n",
        "tool.sh*": "#!/bin/a\n",
        "lib/model.py": TEXT,
        "lib/data.py": TEXT,
    }
    files = {**FILES, **changed}
    del files["src/model.py"], files["src/data.py"]
    write_template(isolated / "template", files)
    commit(project)
    update()
    assert (project / "lib/mine.py").stat().st_mode & 0o777 == 0o600
    assert (project / "README.md").stat().st_mode & 0o777 == 0o640
    assert (project / "tool.sh").stat().st_mode & 0o777 == 0o500


def test_ignored_files_of_a_folder_that_moves(aistart: Call, isolated: Path) -> None:
    package = "src/{{ cookiecutter.project_slug }}"
    write_template(isolated / "template", {f"{package}/model.py": TEXT, ".gitignore": "*.env\n"})
    assert aistart("new", "./template", "demo", "-y", "--trust", "-q").exit_code == 0
    project = isolated / "demo"
    write_files(project, {"src/demo/a.env": "a\n", "src/demo/deep/b.env": "b\n"})
    done = aistart("update", "demo", "--trust", "--set", "project_slug=shop")
    assert (
        "Not moved, as git ignores it: src/demo/a.env and 1 more; move what you need to\n"
        "  src/shop.\n"
    ) in done.output
    assert (project / "src/shop/model.py").exists()
    assert (project / "src/demo/deep/b.env").read_text() == "b\n"


# === 36: where an update may begin ===


def test_uncommitted_changes(update: Update, project: Path, isolated: Path) -> None:
    write_template(isolated / "template", {**FILES, "old.txt": "older\n"})
    (project / "src/model.py").write_text("mine\n")
    (project / "mine\n.txt").touch()
    refused = update(code=2)
    assert refused.output.endswith(
        "Error: not committed: src/model.py, mine\\n.txt. Commit them first, so that git shows the "
        "update alone, or use --allow-dirty.\n"
    )
    assert (project / "old.txt").read_text() == "old\n"
    update("--allow-dirty")
    assert (project / "old.txt").read_text() == "older\n"
    assert (project / "src/model.py").read_text() == "mine\n"


def test_half_a_merge(update: Update, project: Path, isolated: Path) -> None:
    write_template(isolated / "template", {**FILES, "old.txt": "older\n"})
    run_git(project, "switch", "-q", "-c", "other")
    (project / "src/model.py").write_text("other\n")
    commit(project)
    run_git(project, "switch", "-q", "main")
    (project / "src/model.py").write_text("main\n")
    commit(project)
    with pytest.raises(subprocess.CalledProcessError):
        run_git(project, "merge", "other")
    for words in ([], ["--allow-dirty"]):
        refused = update(*words, code=2)
        assert refused.output.endswith("Error: a merge is not finished in git; finish it first.\n")


@pytest.mark.parametrize(
    "place", ["detached head", "worktree", "no repository", "part of a repository", "submodule"]
)
def test_places(aistart: Call, isolated: Path, project: Path, place: str) -> None:
    target = project
    if place == "detached head":
        run_git(project, "checkout", "-q", "--detach")
    elif place == "worktree":
        target = isolated / "tree"
        run_git(project, "worktree", "add", "-q", str(target))
    elif place == "no repository":
        shutil.rmtree(project / ".git")
    elif place == "part of a repository":
        shutil.rmtree(project / ".git")
        write_files(isolated, {".gitignore": "/template/\n", "beside.txt": "1"})
        commit(isolated)
        (isolated / "beside.txt").write_text("not committed, and not the project's")
    else:
        commit(write_template(isolated / "library", {"a": "a"}))
        allow = ("-c", "protocol.file.allow=always")
        run_git(project, *allow, "submodule", "--quiet", "add", str(isolated / "library"), "lib")
        commit(project)
    lib = read_project(project / "lib")
    write_template(isolated / "template", {**FILES, "old.txt": "older\n", "lib/a.txt": "theirs\n"})
    result = aistart("update", str(target), "--trust")
    assert (target / "old.txt").read_text() == "older\n", result.output
    assert result.exit_code == (1 if place == "submodule" else 0)
    if place == "submodule":
        assert "lib" in result.output.partition("needs a decision")[2]
        assert read_project(project / "lib") == lib


def test_ignored_runs_are_neither_read_nor_slow(
    update: Update, project: Path, isolated: Path
) -> None:
    runs = project / "runs"
    runs.mkdir()
    with (runs / "large.bin").open("wb") as file:
        file.truncate(300_000_000)
    os.mkfifo(runs / "pipe")  # whoever reads it waits for ever
    for number in range(2000):
        (runs / f"{number}.json").write_text("{}")
    marks = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    write_template(isolated / "template", {**FILES, "old.txt": "older\n"})
    began = time.process_time()
    update()
    assert time.process_time() - began < 3
    assert {path: path.stat().st_mtime_ns for path in runs.iterdir()} == marks
    assert not (project / ".aistart/update/last/backup/runs").exists()


@pytest.fixture
def small_disk(isolated: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    with mount_small_disk(isolated / "disk", kb=600) as place:
        yield place


def test_full_disk(aistart: Call, small_disk: Path, isolated: Path, project: Path) -> None:
    small = small_disk / "demo"
    shutil.copytree(project, small, ignore=shutil.ignore_patterns(".git"))
    before = read_project(small)
    write_template(isolated / "template", {**FILES, "old.txt": "o" * 200_000, "new": "n" * 400_000})
    result = aistart("update", str(small), "--trust", "--template", str(isolated / "template"))
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].endswith("No space left on device; nothing was changed.")
    assert read_project(small) == before
    assert not (small / ".aistart/update/current").exists()
    assert not (small / ".aistart/update/preparing").exists()


def test_folder_that_cannot_be_written(
    aistart: Call, isolated: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_template(isolated / "template", {**FILES, "src/model.py": "2\n", "old.txt": "older\n"})
    original = os.access  # root may write everywhere
    monkeypatch.setattr("os.access", lambda p, m: Path(p).name != "src" and original(p, m))
    before = read_project(project)
    result = aistart("update", str(project), "--trust")
    assert result.exit_code == 1
    assert result.output.endswith(
        f"Error: {project / 'src'}: the folder cannot be written; nothing was changed.\n"
    )
    assert read_project(project) == before


# === 34: signals, and several at once ===

MOMENTS = {signal.SIGKILL: 20, signal.SIGINT: 5}


@pytest.mark.parametrize("sent", MOMENTS)
def test_killed_at_any_moment(
    aistart: Call, isolated: Path, project: Path, sent: signal.Signals
) -> None:
    """The tree is the old or the new one after the next run, whichever way it goes."""
    files = {f"{folder}/{n}.txt": TEXT for folder in ("a", "b/c") for n in range(60)}
    write_template(isolated / "template", {**FILES, **files})
    assert aistart("update", str(project), "--trust").exit_code == 0
    commit(project)
    old = read_project(project)
    new_files = {name: edit(text, 3, name) for name, text in list(files.items())[:-20]}
    write_template(isolated / "template", {**FILES, **new_files, "d/e.txt": "new\n"})
    command = [*AISTART, "update", str(project), "--trust"]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    usual = time.monotonic() - began
    new = read_project(project)
    moments = random.Random(int(sent))
    met = set()
    for number in range(MOMENTS[sent]):
        run_git(project, "checkout", "-q", "--", ".")
        run_git(project, "clean", "-fdq")
        assert read_project(project) == old
        process = start_program(command)
        # Most of the time is before the first change: half of the moments are near the end.
        time.sleep(usual * moments.uniform(0 if number % 2 else 0.75, 1.05))
        process.send_signal(sent)
        process.communicate()
        state = project / ".aistart/update/current"
        met.add("begun" if state.exists() else "old" if read_project(project) == old else "new")
        if not state.exists():
            assert read_project(project) in (old, new)
        elif number % 4 < 2:
            done = aistart("update", str(project), "--trust")
            assert done.exit_code == 0, done.output
            assert "which was interrupted." in done.output
            assert read_project(project) == new
        else:
            done = aistart("update", str(project), "--abort")
            assert done.exit_code == 0, done.output
            assert read_project(project) == old
        assert [path.name for path in isolated.glob(".aistart-*")] == []
    assert met - {"begun"}


def test_interrupted_update_goes_on_or_back(aistart: Call, isolated: Path, project: Path) -> None:
    """As after SIGKILL in the middle of the changes, which is hard to hit."""
    write_template(isolated / "template", {**FILES, "a.txt": "a\n", "b.txt": "b\n", "old.txt": "2"})
    before = read_project(project)
    stops = (
        "import sys\nfrom pathlib import Path\nimport os, signal\n"
        "from aistart.update import transaction\nput = transaction.put\n"
        "def stop(file, target, mode, folder):\n"
        "    if target.name == 'b.txt':\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    put(file, target, mode, folder)\n"
        "transaction.put = stop\nfrom aistart.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", stops, "update", str(project), "--trust"]
    for way in ("--abort", "--continue", ""):
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
        assert (project / "a.txt").exists()
        assert not (project / "b.txt").exists()
        looked = aistart("update", str(project), "--check", "--trust")
        assert looked.exit_code == 2
        assert "was interrupted; go on with `aistart update " in looked.output
        done = aistart("update", str(project), *([way] if way else ["--trust"]))
        assert done.exit_code == 0, done.output
        if way == "--abort":
            assert read_project(project) == before
            continue
        assert (project / "b.txt").read_text() == "b\n"
        assert (project / "old.txt").read_text() == "2"
        assert aistart("update", str(project), "--check", "--trust").exit_code == 0
        run_git(project, "checkout", "-q", "--", ".")
        run_git(project, "clean", "-fdq")


def test_two_at_once(isolated: Path, project: Path) -> None:
    write_template(isolated / "template", {**FILES, "old.txt": "older\n"})
    command = [*AISTART, "update", str(project), "--trust"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 1], [0, 2]), said  # at once, or the second after the first
    assert sum("Updated (1):" in text for text in said) == 1
    refusals = ("another aistart changes this project right now", "Error: not committed: ")
    assert sum(any(refusal in text for refusal in refusals) for text in said) == 1
    assert (project / "old.txt").read_text() == "older\n"


# === 35 and 37: records, and templates that changed, moved or are gone ===


def break_record(project: Path, how: str) -> None:
    answers, pristine = project / ".aistart/answers.toml", project / ".aistart/pristine.xz"
    if how == "edited":
        answers.write_text(answers.read_text().replace('"Demo"', '"Other"').replace("demo", "o"))
    elif how == "newer":
        text = answers.read_text()
        answers.write_text(text.replace(f'aistart = "{__version__}"', 'aistart = "99.1"'))
    elif how == "no answers":
        answers.unlink()
    elif how == "no pristine":
        pristine.unlink()
    elif how == "neither":
        answers.unlink()
        pristine.unlink()
    elif how == "truncated":
        pristine.write_bytes(pristine.read_bytes()[:60])
    else:
        answers.write_text("<<<<<<< HEAD\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("edited", "answers.toml was edited ("),
        ("newer", f"was made or updated by aistart 99.1, and this is {__version__}"),
        ("no answers", "answers.toml was deleted; restore it: git -C "),
        ("no pristine", "has no .aistart/pristine.xz"),
        ("neither", "is no project of aistart: it has no .aistart/answers.toml."),
        ("truncated", "pristine.xz is broken ("),
        ("half a merge", "answers.toml is broken ("),
    ],
)
def test_broken_record(aistart: Call, project: Path, how: str, message: str) -> None:
    break_record(project, how)
    before = read_project(project)
    place = str(project)
    for words in (
        ["update", place, "--trust", "--allow-dirty"],
        ["update", place, "--trust", "--check"],
        ["add", "ci", "-C", place, "--allow-dirty"],
        ["diff", "-C", place],
    ):
        result = aistart(*words)
        assert result.exit_code == 2, result.output
        assert message in result.output.splitlines()[-1]
        assert result.output.count("\n") == 1
    assert read_project(project) == before
    listed = aistart("status", str(project))
    assert listed.exit_code == (2 if how == "neither" else 0)


@pytest.mark.parametrize(
    ("how", "is_committed"), [("edited", False), ("edited", True), ("truncated", True)]
)
def test_broken_record_is_restored_as_it_says(
    aistart: Call, project: Path, how: str, is_committed: bool
) -> None:
    break_record(project, how)
    if is_committed:
        commit(project)
    refused = aistart("update", str(project), "--trust")
    command = re.search("restore it: git (-C [^;]*?)[;\n]", refused.output)
    assert command, refused.output
    run_git(project, *command[1].split())
    assert aistart("update", str(project), "--trust", "--check").exit_code == 0


def test_project_without_pristine_has_its_base_in_git(
    aistart: Call, project: Path, isolated: Path
) -> None:
    (project / ".aistart/pristine.xz").unlink()
    first = commit(project, "As it was made by an older version")
    (project / "src/model.py").write_text(edit(TEXT, 15, "mine"))
    commit(project)
    write_template(isolated / "template", {**FILES, "src/model.py": edit(TEXT, 3, "three")})
    hint = aistart("update", str(project), "--trust")
    assert "--base REVISION`. Its record was first committed in " in hint.output
    wrong = aistart("update", str(project), "--trust", "--base", "nowhere")
    assert wrong.output.endswith(
        "Error: --base: 'nowhere' is not a commit of the project's repository.\n"
    )
    done = aistart("update", str(project), "--trust", "--base", first)
    assert done.exit_code == 0, done.output
    assert (project / "src/model.py").read_text() == edit(edit(TEXT, 15, "mine"), 3, "three")
    commit(project)
    assert aistart("update", str(project), "--trust", "--check").exit_code == 0
    refused = aistart("update", str(project), "--trust", "--base", first)
    assert refused.output.endswith(
        "--base: the project's record is whole and says what was rendered.\n"
    )


def test_questions_that_come_and_go(update: Update, project: Path, isolated: Path) -> None:
    write_template(
        isolated / "template", {**FILES, "say.txt": "{{ cookiecutter.kind }}\n"}, kind=["a", "b"]
    )
    said = update()
    assert "New question: kind, answered with its default 'a' (--set kind=VALUE).\n" in said.output
    commit(project)
    unknown = update("--set", "knd=b", code=2)
    assert "question: 'knd' is unknown. Did you mean 'kind'?" in unknown.output
    update("--set", "kind=b")
    assert (project / "say.txt").read_text() == "b\n"
    commit(project)
    write_template(
        isolated / "template", {**FILES, "say.txt": "{{ cookiecutter.kind }}\n"}, kind=["a", "c"]
    )
    gone = update(code=2)
    assert gone.output.endswith(
        "Error: kind: 'b' is not one of: a, c. The template has changed: add --set kind=VALUE.\n"
    )
    write_template(isolated / "template", FILES)
    said = update()
    assert "The template no longer asks for kind.\n" in said.output
    assert not (project / "say.txt").exists()
    assert "kind" not in (project / ".aistart/answers.toml").read_text()


def test_template_in_a_repository(aistart: Call, isolated: Path) -> None:
    """Its commit is recorded; a new version has to be trusted; it may move, or be gone."""
    repository = isolated / "template"
    first = commit(write_template(repository, FILES))
    url = repository.as_uri()
    assert aistart("new", url, "demo", "-y", "--trust", "-q").exit_code == 0
    project = isolated / "demo"
    recorded = tomllib.loads((project / ".aistart/answers.toml").read_text())
    assert recorded["source"]["commit"] == first
    write_template(repository, {**FILES, "old.txt": "older\n"})
    second = commit(repository)
    before = read_project(project)
    for words in (["update"], ["update", "--check"], ["update", "--dry-run"]):
        refused = aistart(words[0], str(project), *words[1:])
        assert refused.exit_code == 2
        assert "look at it, then use --trust." in refused.output
    assert read_project(project) == before
    done = aistart("update", str(project), "--trust-always")
    assert f"template {first[:12]} → {second[:12]}\n" in done.output
    recorded = tomllib.loads((project / ".aistart/answers.toml").read_text())
    assert recorded["source"]["commit"] == second
    commit(project)
    assert aistart("update", str(project), "--check").exit_code == 0  # it is trusted from now on

    for words, message in (
        (["--checkout", "nowhere"], "Error: git: fatal: invalid reference: nowhere\n"),
        (["--template", "recommender"], "Error: --template: 'recommender' comes with aistart"),
    ):
        refused = aistart("update", str(project), "--trust", *words)
        assert refused.exit_code != 0
        assert refused.output.startswith(message)
        assert refused.output.count("\n") == 1
    back = aistart("update", str(project), "--trust", "--checkout", first)
    assert back.exit_code == 0, back.output
    assert (project / "old.txt").read_text() == "old\n"
    commit(project)
    repository.rename(isolated / "moved")
    before = read_project(project)
    gone = aistart("update", str(project), "--trust")
    assert gone.exit_code == 1
    assert gone.output.endswith("; if it has moved, say where it is with --template.\n")
    assert gone.output.count("\n") == 1
    assert read_project(project) == before
    moved = (isolated / "moved").as_uri()
    done = aistart("update", str(project), "--trust", "--template", moved)
    assert done.exit_code == 0, done.output
    assert (project / "old.txt").read_text() == "older\n"
    recorded = tomllib.loads((project / ".aistart/answers.toml").read_text())
    assert recorded["source"]["reference"] == moved


def test_template_in_a_folder_that_is_gone(update: Update, project: Path, isolated: Path) -> None:
    (isolated / "template").rename(isolated / "moved")
    gone = update(code=2)
    assert gone.output.endswith("; if it has moved, say where it is with --template.\n")
    update("--template", str(isolated / "moved"))


# === Features, differences, status ===

FEATURES = {
    "docs": {"layer": "./features/docs", "summary": "a page", "default": True},
    "chart": {"layer": "./features/chart", "summary": "a chart", "default": False},
}


def write_with_features(isolated: Path, **files: str) -> None:
    write_template(isolated / "template", {**FILES, **files}, _features=FEATURES)
    for name, requires in (("docs", []), ("chart", ["docs"])):
        folder = isolated / "template/features" / name
        write_files(folder, {"cookiecutter.json": json.dumps({"_requires": requires})})
        write_files(folder / "{{ cookiecutter.project_slug }}", {f"{name}.md": f"{name}\n"})


def test_features_come_and_go(aistart: Call, isolated: Path) -> None:
    write_with_features(isolated)
    aistart("new", "./template", "demo", "-y", "--trust", "-q", "--minimal")
    project, words = isolated / "demo", ["-C", str(isolated / "demo"), "--trust"]
    before = read_project(project)
    looked = aistart("add", "chart", *words, "--dry-run")
    assert "2 new.\n\nNew (2):\n  chart.md\n  docs.md\n" in looked.output
    assert read_project(project) == before
    assert aistart("add", "chart", *words).exit_code == 0
    assert (project / "chart.md").exists()
    assert tomllib.loads((project / ".aistart/answers.toml").read_text())["features"] == [
        "docs",
        "chart",
    ]
    commit(project)
    for command, name, message in (
        ("add", "chart", "feature: the project already has 'chart'."),
        ("add", "chrt", "feature: 'chrt' is unknown. There are none."),
        ("remove", "other", "feature of the project: 'other' is unknown. Allowed: docs, chart."),
        ("remove", "docs", "feature: 'chart' requires 'docs'; remove both or none."),
    ):
        refused = aistart(command, name, *words)
        assert (refused.exit_code, message in refused.output) == (2, True), refused.output
    assert aistart("remove", "docs", "chart", *words).exit_code == 0
    assert read_project(project) == before

    commit(project)
    write_with_features(isolated, **{"old.txt": "older\n"})
    refused = aistart("add", "docs", *words)
    assert refused.exit_code == 2
    assert refused.output.endswith(
        "Error: feature: the template has changed since the project was made (1 file); run "
        "`aistart update` first, and commit it.\n"
    )


def test_feature_that_is_removed_leaves_what_was_edited(aistart: Call, isolated: Path) -> None:
    write_with_features(isolated)
    aistart("new", "./template", "demo", "-y", "--trust", "-q")
    project = isolated / "demo"
    (project / "docs.md").write_text("mine\n")
    commit(project)
    result = aistart("remove", "docs", "-C", str(project), "--trust")
    assert result.exit_code == 1
    assert "docs.md\n    you changed it and the template no longer has it" in result.output
    assert aistart("update", str(project), "--continue").exit_code == 0
    assert (project / "docs.md").read_text() == "mine\n"


def test_diff(
    aistart: Call, project: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "src/model.py").write_text(edit(TEXT, 3, "mine"))
    (project / "picture.bin").write_bytes(b"\0mine")
    (project / "old.txt").unlink()
    (project / "tool.sh").chmod(0o644)
    (project / "own.txt").write_text("not the template's\n")
    stat = aistart("diff", "-C", str(project), "--stat")
    assert (
        stat.output
        == "deleted  old.txt\nbinary   picture.bin\n+1 -1    src/model.py\nmode     tool.sh\n"
    )
    whole = (
        "diff --git a/src/model.py b/src/model.py\n--- a/src/model.py\n+++ b/src/model.py\n"
        "@@ -1,6 +1,6 @@\n line 1\n line 2\n-line 3\n+mine\n line 4\n line 5\n line 6\n"
    )
    assert aistart("diff", "-C", str(project), "src").output == whole
    monkeypatch.chdir(project / "src")
    for words in (["model.py"], ["../src/model.py"], [".."], ["-C", "..", "."]):
        assert whole in aistart("diff", *words).output
    refused = aistart("diff", "../own.txt")
    assert refused.exit_code == 2
    assert refused.output == (
        "Error: PATH: 'own.txt' is no file or folder that the template rendered.\n"
    )
    # Without git's objects, the text that nobody has any more is said to be so.
    shutil.rmtree(project / ".git")
    rest = aistart("diff", "model.py").output
    assert "-<a line of the template, whose text is nowhere any more>\n+mine\n line 4\n" in rest


def test_status(
    aistart: Call, project: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aistart("new", "recommender", "shop", "-y", "-q", "--no-git")
    (isolated / "shop/README.md").write_text("mine\n")
    (isolated / "shop/LICENSE").unlink()
    write_files(isolated, {"bro\nken/.aistart/answers.toml": "x"})
    listed = {item["path"]: item for item in json.loads(aistart("status", "--json").output)}
    assert list(listed) == ["bro\nken", "demo", "shop"]
    shop = listed["shop"]
    assert {key: shop[key] for key in ("name", "template", "version", "due", "edited_files")} == {
        "name": "shop",
        "template": "recommender",
        "version": __version__,
        "due": False,
        "edited_files": 2,
    }
    assert listed["demo"]["due"] is None
    assert "is broken" in listed["bro\nken"]["problem"]
    text = aistart("status").output
    assert "\nbro\\nken  ?  " in text
    assert f"shop      recommender  {__version__}    2       none\n" in text
    shutil.rmtree(project / "src")
    (project / "src").symlink_to("src")  # a loop
    monkeypatch.chdir(project)
    assert "\ndemo     template  0.2.0    2       see " in aistart("status").output
    nothing = aistart("status", str(isolated / "template"))
    assert nothing.exit_code == 2
    assert "there is no project in or directly below" in nothing.output


def test_commands_outside_of_a_project(aistart: Call, isolated: Path) -> None:
    for words in (["update"], ["add", "ci"], ["remove", "ci"], ["diff"]):
        refused = aistart(*words)
        assert refused.exit_code == 2
        assert refused.output == (
            "Error: PROJECT: the current folder is in no project of aistart: it has no "
            ".aistart/answers.toml.\n"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--continue", "--abort"], "--continue and --abort exclude each other."),
        (["--check", "--dry-run"], "--check and --dry-run exclude each other."),
        (["--diff"], "--diff: it goes with --dry-run."),
        (["--abort", "--set", "a=b"], "--abort: it goes with no other option"),
        (["--set", "a"], "--set: 'a' is not of the form KEY=VALUE."),
        (["--base", "HEAD"], "--base: the project's record is whole"),
    ],
)
def test_wrong_use(update: Update, words: list[str], message: str) -> None:
    assert message in update(*words, code=2).output
