"""``aistart new``: what is on the disk afterwards, and what is said."""

import os
import stat
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from aistart.answers import resolve_defaults, select_features
from aistart.catalog import Template, find_template, find_templates
from aistart.update.trees import RECORD_PATHS
from tests.generator.foreign import PROJECT, write, write_team_template

Call = Callable[..., Result]

# What stands at the top of every default project.
TOP_LEVEL = """\
.aistart .dockerignore .editorconfig .git .github .gitignore .vscode CONTRIBUTING.md Dockerfile
Dockerfile.serve LICENSE Makefile README.md configs docs examples make pyproject.toml
requirements-serve.lock requirements.lock src tests
"""


def list_files(folder: Path) -> list[str]:
    """All files below a folder, git's own aside."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in files if path.parts[0] != ".git")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def assert_refused(result: Result, message: str, folder: Path, code: int = 2) -> None:
    """One line, the exit code, and the folder as it was: empty."""
    assert result.exit_code == code
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert list(folder.iterdir()) == []


def list_layer_files(template: Template) -> list[str]:
    """The files that the layers of a default project hold, with the package's name in place."""
    answers, features = resolve_defaults(template), select_features(template)
    files = [
        path.relative_to(layer.project).as_posix()
        for layer in template.layers_for(answers, features)
        for path in layer.project.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    names = [file.replace("{{ cookiecutter.package_name }}", "demo") for file in files]
    return sorted([*names, *RECORD_PATHS])


@pytest.mark.parametrize("template", find_templates())
def test_default_project_is_exactly_its_layers(
    template: str, aistart: Call, isolated: Path
) -> None:
    result = aistart("new", template, "demo", "-y")
    assert result.exit_code == 0
    declared = find_template(template)
    assert list_files(isolated / "demo") == list_layer_files(declared)
    top_level = set(TOP_LEVEL.split())
    if template == "language-model":  # what it exports runs in no small device
        top_level.remove("examples")
    assert {path.name for path in (isolated / "demo").iterdir()} == top_level
    assert [path.name for path in isolated.iterdir()] == ["demo"]
    features = ", ".join(select_features(declared))
    assert result.output == (
        f"Made demo ({declared.title}, with {features}).\n\nNext:\n  cd demo\n  make setup\n"
        "  make train\n\nThe same again, without questions:\n"
        f"  aistart new {template} demo -y\n"
    )


def test_project_is_a_clean_repository_with_one_commit(aistart: Call, isolated: Path) -> None:
    aistart("new", "vision-classifier", "demo", "-y")
    assert git(isolated / "demo", "log", "--format=%s by %an") == (
        "Start from aistart's vision-classifier template by aistart"
    )
    assert git(isolated / "demo", "status", "--porcelain") == ""
    assert git(isolated / "demo", "branch", "--show-current") == "main"


def test_first_commit_uses_the_identity_of_the_user(aistart: Call, isolated: Path) -> None:
    git(isolated, "config", "--global", "user.name", "Ada")
    git(isolated, "config", "--global", "user.email", "ada@example.com")
    git(isolated, "config", "--global", "commit.gpgsign", "true")
    aistart("new", "vision-classifier", "demo", "-y")
    assert git(isolated / "demo", "log", "--format=%an <%ae>") == "Ada <ada@example.com>"


def test_what_the_user_ignores_everywhere_is_committed_all_the_same(
    aistart: Call, isolated: Path
) -> None:
    (isolated / "ignore").write_text("*.lock\n")
    git(isolated, "config", "--global", "core.excludesFile", str(isolated / "ignore"))
    aistart("new", "vision-classifier", "demo", "-y")
    assert git(isolated / "demo", "ls-files", "requirements.lock") == "requirements.lock"


def test_what_the_project_itself_ignores_is_not_committed(aistart: Call, isolated: Path) -> None:
    team = write_team_template(isolated / "team")
    write(team / PROJECT / ".gitignore", "*.pem\n/notes/\n.env\n!kept.pem\n")
    for name in (".env", "secret.pem", "kept.pem", "notes/own.md"):
        write(team / PROJECT / name, "secret\n")
    write(team / PROJECT / "docs" / ".gitignore", "draft\n")
    write(team / PROJECT / "docs" / "draft", "secret\n")
    ignore = Path.home() / ".config" / "git" / "ignore"
    write(ignore, "*.txt\n")
    assert aistart("new", "./team", "demo", "-y", "--trust").exit_code == 0
    assert git(isolated / "demo", "ls-files").splitlines() == [
        *RECORD_PATHS,
        ".gitignore",
        "README.md",
        "docs.md",
        "docs/.gitignore",
        "kept.pem",
        "store.txt",
        "tests/test_store.py",
    ]
    assert (isolated / "demo" / "secret.pem").is_file()
    write(team / PROJECT / ".gitignore", "*\n")
    assert aistart("new", "./team", "empty", "-y", "--trust").exit_code == 0
    assert git(isolated / "empty", "ls-files").splitlines() == [*RECORD_PATHS]
    assert git(isolated / "empty", "rev-list", "--count", "HEAD") == "1"


@pytest.mark.parametrize("template", find_templates())
def test_all_files_of_our_own_are_committed(template: str, aistart: Call, isolated: Path) -> None:
    aistart("new", template, "demo", "-y", "--with", "kubernetes")
    assert git(isolated / "demo", "ls-files").splitlines() == list_files(isolated / "demo")


def test_failure_of_git_is_said_and_leaves_nothing(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_DATE", "no date")
    result = aistart("new", "vision-classifier", "demo", "-y")
    assert_refused(result, "Error: git commit: fatal: invalid date format: no date", isolated, 1)


def test_called_from_a_git_hook_the_other_repository_is_left_alone(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(isolated, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(isolated / "other" / ".git"))
    assert aistart("new", "vision-classifier", "demo", "-y").exit_code == 0
    monkeypatch.delenv("GIT_DIR")
    assert git(isolated / "demo", "rev-list", "--count", "HEAD") == "1"
    assert git(isolated / "other", "for-each-ref") == ""


def test_without_git_the_project_is_made_all_the_same(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    result = aistart("new", "vision-classifier", "demo", "-y")
    assert result.exit_code == 0
    assert "git is not installed" in result.output
    assert (isolated / "demo" / "README.md").is_file()


def test_scripts_and_permissions(aistart: Call, isolated: Path) -> None:
    aistart("new", "vision-classifier", "demo", "-y")
    project = tomllib.loads((isolated / "demo/pyproject.toml").read_text())["project"]
    assert project["scripts"] == {
        "demo": "demo.__main__:main",
        "train": "demo.__main__:train",
        "evaluate": "demo.__main__:evaluate",
        "predict": "demo.__main__:predict",
    }
    mode = (isolated / "demo").stat().st_mode
    assert stat.S_IMODE(mode) == 0o777 & ~_umask()


def test_lock_satisfies_the_declared_dependencies(aistart: Call, isolated: Path) -> None:
    from packaging.requirements import Requirement

    aistart("new", "vision-classifier", "demo", "-y")
    project = tomllib.loads((isolated / "demo/pyproject.toml").read_text())["project"]
    lines = (isolated / "demo/requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line], "a lock names no index"
    pinned: dict[str, set[str]] = {}
    for line in lines:
        if line and line[0] not in " #":
            name, _, version = line.partition("==")
            pinned.setdefault(name, set()).add(version.split(" ")[0])
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert pinned[requirement.name], text
        for version in pinned[requirement.name]:
            assert requirement.specifier.contains(version), text


def test_name_with_spaces_gives_folder_and_package(aistart: Call, isolated: Path) -> None:
    assert aistart("new", "vision-classifier", "My Große App", "-y").exit_code == 0
    assert (isolated / "my-grosse-app/src/my_grosse_app/train.py").is_file()
    assert (isolated / "my-grosse-app/README.md").read_text().startswith("# My Große App\n")


def test_valid_folder_name_is_taken_as_it_is(aistart: Call, isolated: Path) -> None:
    assert aistart("new", "vision-classifier", "My_App", "-y").exit_code == 0
    assert (isolated / "My_App/src/my_app/train.py").is_file()


def test_output_dir(aistart: Call, isolated: Path) -> None:
    (isolated / "with space").mkdir()
    result = aistart("new", "vision-classifier", "demo", "-y", "-o", "with space")
    assert "  cd 'with space/demo'\n" in result.output
    assert "  aistart new vision-classifier demo -y -o 'with space'\n" in result.output
    assert (isolated / "with space/demo/README.md").is_file()


def test_output_dir_is_made(aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["new", "vision-classifier", "demo", "-y", "-o", "new/folder"]
    assert aistart(*words, "--dry-run").exit_code == 0
    assert list(isolated.iterdir()) == []
    monkeypatch.setenv("GIT_AUTHOR_DATE", "no date")
    assert aistart(*words).exit_code == 1
    assert list(isolated.iterdir()) == [], "what was made for it is gone if it fails"
    monkeypatch.delenv("GIT_AUTHOR_DATE")
    assert aistart(*words).exit_code == 0
    assert (isolated / "new/folder/demo/README.md").is_file()


def test_empty_folder_is_filled(aistart: Call, isolated: Path) -> None:
    (isolated / "demo").mkdir()
    (isolated / "demo").chmod(0o2750)
    assert aistart("new", "vision-classifier", "demo", "-y").exit_code == 0
    assert (isolated / "demo/README.md").is_file()
    assert stat.S_IMODE((isolated / "demo").stat().st_mode) == 0o2750


def test_answers_are_recorded(aistart: Call, isolated: Path) -> None:
    aistart(
        "new", "vision-classifier", "demo", "-y", "--set", "author=A & B", "--set", "license=MIT"
    )
    recorded = tomllib.loads((isolated / "demo/.aistart/answers.toml").read_text())
    assert recorded["template"] == "vision-classifier"
    assert recorded["answers"] == {
        "project_name": "demo",
        "project_slug": "demo",
        "package_name": "demo",
        "description": "Classifies images.",
        "author": "A & B",
        "organisation": "",
        "license": "MIT",
        "python_version": "3.11",
        "tracking_uri": "",
    }


def test_mlflow_server_of_the_team(aistart: Call, isolated: Path) -> None:
    words = ["--set", "tracking_uri=http://mlflow.example.com:5000"]
    aistart("new", "vision-classifier", "demo", "-y", *words)
    written = yaml.safe_load((isolated / "demo/configs/project.yaml").read_text())
    assert written == {"tracking": {"uri": "http://mlflow.example.com:5000"}}


def test_failure_while_rendering_leaves_nothing(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aistart.git.first_commit", full)
    result = aistart("new", "vision-classifier", "demo", "-y")
    assert_refused(result, "No space left on device", isolated, code=1)


def test_interrupt_leaves_nothing(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aistart.git.first_commit", interrupt)
    assert aistart("new", "vision-classifier", "demo", "-y").exit_code == 1
    assert list(isolated.iterdir()) == []


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
