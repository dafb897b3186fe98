"""The project's command."""

import subprocess
import sys

import pytest

from {{ cookiecutter.package_name }}.__main__ import commands, main
from {{ cookiecutter.package_name }}.engine import PACKAGE, PROGRAM


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_help_names_every_command_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: {PROGRAM} COMMAND …"
    groups = {command.group for command in commands.values()}
    assert {line for line in lines if line.endswith(":")} == {f"{group}:" for group in groups}
    for name, command in commands.items():
        assert f"  {name:<16} {command.summary}" in lines


def test_help_imports_neither_the_configuration_nor_tensorflow() -> None:
    code = f"import sys; from {PACKAGE}.__main__ import main; main(['--help']); " + (
        "assert not {'pydantic', 'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "command: 'trian' is unknown. Did you mean 'train'?"),
        (["evaluat", "--run", "latest"], "Did you mean 'evaluate'?"),
        (["--train.epochs", "1"], "command: '--train.epochs' is unknown."),
    ],
)
def test_unknown_commands_name_the_nearest(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", sorted(commands))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: {name}")


def test_no_words_are_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith(f"usage: {PROGRAM}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_hold_commands_and_fields(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("evaluate", "--train.epochs", PROGRAM):
        assert word in script


@pytest.mark.parametrize(
    ("words", "expected"), [("ev", "evaluate"), ("train --train.epo", "--train.epochs")]
)
def test_bash_completes(words: str, expected: str) -> None:
    script = run("-m", PACKAGE, "completion", "bash").stdout
    press = f"COMP_WORDS=({PROGRAM} {words}); COMP_CWORD={len(words.split())}"
    call = f"_{PROGRAM.replace('-', '_')}; echo $COMPREPLY"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{press}; {call}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected]
