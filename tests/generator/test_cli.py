"""The command line around ``new``: list, help, prompts on a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Call = Callable[..., Result]


def test_list(aistart: Call) -> None:
    result = aistart("list")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["medical-diagnosis", "medical"],
        ["recommender", "recommendation"],
        ["text-classifier", "nlp"],
        ["vision-classifier", "vision"],
    ]
    assert "Images into classes" in lines[3]


def test_list_as_json(aistart: Call) -> None:
    listed = json.loads(aistart("list", "--json").output)
    for template in listed:
        assert set(template) == {"name", "title", "summary", "domain"}
    names = ["medical-diagnosis", "recommender", "text-classifier", "vision-classifier"]
    assert [template["name"] for template in listed] == names
    assert listed[3]["domain"] == "vision"


def test_help_and_version(aistart: Call) -> None:
    assert "vision-classifier" in aistart("new", "-h").output
    assert aistart("--version").output.startswith("aistart, version ")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from aistart.cli import main; main(['--help'], standalone_mode=False); "
        "assert not {'cookiecutter', 'jinja2', 'json'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def on_terminal(answers: list[str], *words: str) -> str:
    """Run the tool on a pseudo-terminal, answer its prompts, and return what it showed."""
    process, terminal = pty.fork()
    if process == 0:  # the child: the terminal is its own, so that Ctrl-C reaches it
        os.execv(sys.executable, [sys.executable, "-m", "aistart", *words])
    shown, waiting = "", list(answers)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 4096).decode()
            except OSError:  # the other end is closed
                break
        elif waiting and shown.endswith(": "):
            os.write(terminal, waiting.pop(0).encode())
    else:
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(terminal)
    return shown


def test_prompts_on_a_terminal(isolated: Path) -> None:
    answers = ["My App", "", "class", "my_app", "", "Ada", "GPL", "MIT", ""]
    answers = [f"{answer}\n" for answer in answers]
    shown = on_terminal(answers, "new", "vision-classifier")
    assert "Name of the project [My Image Classifier]: " in shown
    assert "Folder [my-app]: " in shown
    assert "'class' is a word of the Python language; try 'my_class'." in shown
    assert "'GPL' is not one of" in shown
    assert "Made my-app" in shown
    project = isolated / "my-app"
    assert (project / "src/my_app/train.py").is_file()
    assert (project / "LICENSE").read_text().startswith("MIT License")
    assert "Ada" in (project / "LICENSE").read_text()


def test_what_is_set_is_not_asked(isolated: Path) -> None:
    settings = ["--set", "license=MIT", "--set", "author=A", "--set", "python_version=3.12"]
    shown = on_terminal(["\n"] * 3, "new", "vision-classifier", "demo", *settings)
    assert "Licence" not in shown
    assert 'requires-python = ">=3.12,<3.14"' in (isolated / "demo/pyproject.toml").read_text()


def test_interrupt_at_a_prompt_leaves_nothing(isolated: Path) -> None:
    shown = on_terminal(["\x03"], "new", "vision-classifier")
    assert "Traceback" not in shown
    assert list(isolated.iterdir()) == []


def test_without_a_terminal_nothing_is_asked(isolated: Path) -> None:
    command = [sys.executable, "-m", "aistart", "new", "vision-classifier", "demo"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (isolated / "demo").is_dir()
