"""``tour``: reading the document, checks, progress, and the command without a terminal."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.engine import PROGRAM
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.tour import command, display
from {{ cookiecutter.package_name }}.engine.tour.checks import run_check
from {{ cookiecutter.package_name }}.engine.tour.document import read_steps

DOCUMENT = """# Onboarding

An introduction.

## 1. Make a file

```console
$ touch made
## 9. not a heading
```

**Why:** because it is
the first step.

```check
test -f made
```

If the check fails: give `touch made` again.

## 2. Read

Nothing can be checked here.

## 3. Say it

```check
echo wrong
false
echo not reached
```

## Where do I …?

| a | b |
"""


@pytest.fixture
def document(own_folder: Path) -> Path:
    path = own_folder / "docs" / "onboarding.md"
    path.parent.mkdir()
    path.write_text(DOCUMENT, encoding="utf-8")
    return path


@pytest.fixture
def tour(document: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command; returns exit code, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["tour", *words])
        return code, *capsys.readouterr()

    return call


# === The document ===


def test_steps_are_numbered_sections(document: Path) -> None:
    first, second, third = read_steps(document)
    assert [first.title, second.title, third.title] == ["Make a file", "Read", "Say it"]
    assert [first.line, second.line, third.line] == [5, 21, 25]
    assert first.text[:3] == ("```console", "$ touch made", "## 9. not a heading")
    assert first.check == "test -f made"
    assert first.hint == ("If the check fails: give `touch made` again.",)
    assert second.check is None
    assert third.check == "echo wrong\nfalse\necho not reached"
    assert third.hint == ()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("## 9. not a heading\n```", "", "line 7: the fence that begins here is not closed"),
        ("echo not reached\n```", "", "line 27: the fence that begins here is not closed"),
        ("Say it", "Make a file", "line 25: the step of line 5 has the title 'Make a file' too"),
        ("## ", "### ", "there is no step, that is no heading such as '## 1. Set up'."),
    ],
)
def test_mistakes_are_named_by_line(document: Path, before: str, after: str, message: str) -> None:
    document.write_text(DOCUMENT.replace(before, after), encoding="utf-8")
    with pytest.raises(DataProblem) as problem:
        read_steps(document)
    assert message in str(problem.value)


def test_other_encodings_are_refused(document: Path) -> None:
    document.write_bytes(DOCUMENT.encode("utf-16"))
    with pytest.raises(DataProblem, match="is not UTF-8"):
        read_steps(document)


def test_line_ends_and_longer_fences(document: Path) -> None:
    longer = DOCUMENT.replace("```console", "````console").replace("ing\n```", "ing\n```\n````")
    document.write_text(longer, encoding="utf-8", newline="\r\n")
    step = read_steps(document)[0]
    assert step.check == "test -f made"
    assert "```" in step.text


# === Checks ===


def test_checks_run_in_the_environment(tmp_path: Path) -> None:
    result = run_check("pwd; command -v python || true", tmp_path)
    assert result.succeeded
    assert result.output.splitlines()[0] == str(tmp_path.resolve())
    assert f"PATH={Path(sys.executable).parent}{os.pathsep}" in run_check("env", tmp_path).output


def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    begin = time.monotonic()
    result = run_check("sleep 60 & sleep 60", tmp_path, limit=0.5)
    assert not result.succeeded
    assert result.output == "It did not end within 0.5 seconds."
    assert time.monotonic() - begin < 10


# === The command ===


def test_without_a_terminal_the_next_step_and_its_check(tour: Callable, own_folder: Path) -> None:
    code, shown, _ = tour()
    assert code == 0
    assert "1 of 3: Make a file" in shown
    assert "    $ touch made" in shown
    assert "Not yet: `test -f made` failed." in shown
    assert "give `touch made` again." in shown
    (own_folder / "made").touch()
    assert f"Next: 2. Read; `{PROGRAM} tour` shows it." in tour()[1]
    assert "2 of 3: Read" in tour()[1], "what cannot be checked is done once it was shown"
    assert "\n    wrong\n" in tour()[1], "the first command that fails ends a check"


def test_progress_is_kept_by_title(tour: Callable, document: Path, own_folder: Path) -> None:
    (own_folder / "made").touch()
    tour()
    assert json.loads((own_folder / ".cache/tour.json").read_text()) == {"done": ["Make a file"]}
    added = "## 1. Ask for access\n\n```check\ntrue\n```\n\n## 1. Make a file"
    document.write_text(DOCUMENT.replace("## 1. Make a file", added), encoding="utf-8")
    code, shown, errors = tour("--list")
    assert code == 0
    assert shown.splitlines()[:2] == ["[ ]  1  Ask for access", "[x]  2  Make a file"]
    assert "docs/onboarding.md: line 11: 'Make a file' is step 2 by its place, not 1." in errors
    assert "1 of 4: Ask for access" in tour()[1]


def test_all_checks(tour: Callable, own_folder: Path) -> None:
    code, shown, errors = tour("--check")
    assert code == 1
    assert shown.splitlines() == [
        "FAILED   1  Make a file",
        "-        2  Read: no check",
        "FAILED   3  Say it",
        "    wrong",
    ]
    assert errors == "error: 2 of 3 checks failed: 1, 3.\n"
    (own_folder / "made").touch()
    assert tour("--check", "--step", "1")[:2] == (0, "ok       1  Make a file\n")
    assert tour("--list")[1].startswith("[x]  1  Make a file\n")


def test_begin_anew(tour: Callable, own_folder: Path) -> None:
    (own_folder / ".cache").mkdir()
    (own_folder / ".cache/tour.json").write_text("{")
    code, _, errors = tour()
    assert code == 3
    assert f"tour.json: damaged; `{PROGRAM} tour --reset` begins anew." in errors
    assert tour("--reset")[0] == 0
    assert "1 of 3" in tour()[1]


def test_wrong_use(tour: Callable, document: Path) -> None:
    code, _, errors = tour("--step", "4")
    assert (code, errors) == (2, "error: --step: 4 is not a step. Allowed: 1 to 3.\n")
    document.unlink()
    code, _, errors = tour()
    assert code == 1
    assert "docs/onboarding.md: No such file or directory." in errors


def test_at_the_end(tour: Callable, document: Path, own_folder: Path) -> None:
    document.write_text(DOCUMENT.replace("false\n", ""), encoding="utf-8")
    (own_folder / "made").touch()
    tour("--check")
    assert "2 of 3" in tour()[1]
    assert "All 3 steps are done." in tour()[1]


# === With a terminal ===


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a user give these answers; an exception among them is raised."""

    def give(*answers: object) -> None:
        waiting = list(answers)

        def ask(question: str) -> str:
            print(question)
            reply = waiting.pop(0)
            if isinstance(reply, type):
                raise reply
            if callable(reply):
                reply()
                return ""
            return str(reply)

        monkeypatch.setattr("builtins.input", ask)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)

    return give


def test_a_user_is_asked_until_it_is_done(
    tour: Callable, answer: Callable, own_folder: Path
) -> None:
    answer("", (own_folder / "made").touch, "", "s")
    code, shown, _ = tour()
    assert code == 0
    first, rest = ("1 of 3", "Not yet", "Step 1 is done."), ("2 of 3", "Step 2 is done.", "3 of 3")
    places = [shown.index(part) for part in (*first, *rest, "Next: 3.")]
    assert places == sorted(places)
    assert command.QUESTION_WITHOUT_CHECK in shown


@pytest.mark.parametrize(("end", "code"), [("q", 0), (EOFError, 0), (KeyboardInterrupt, 75)])
def test_leaving_keeps_progress(
    tour: Callable, answer: Callable, own_folder: Path, end: object, code: int
) -> None:
    (own_folder / "made").touch()
    answer("", end)
    found, shown, errors = tour()
    assert found == code
    assert f"eft at step 2; `{PROGRAM} tour` continues there." in shown + errors
    assert tour("--list")[1].splitlines()[:2] == ["[x]  1  Make a file", "[ ]  2  Read"]


def test_lines_are_as_wide_as_the_terminal(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    step = read_steps(document)[0]
    shown = display.show_step(step, 3).splitlines()
    assert "**Why:** because it is" in shown
    assert "the first step." in shown
    assert "    $ touch made" in shown
    assert max(map(len, shown)) <= 24
