"""What makes the first pull request the same everywhere: editor, container, hooks, updates."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aistart.catalog import PROJECT_FOLDER, find_templates, templates_root
from tests.environments import UV, project_python
from tests.generator.updates import commit, write_template

FEATURES = ("devcontainer", "pre-commit", "update-check")
HOOKS_LOCK = (
    templates_root() / "layers/features/pre-commit" / PROJECT_FOLDER / "requirements-hooks.lock"
)


@pytest.fixture
def make_project(aistart: Callable, isolated: Path) -> Callable[..., Path]:
    """Make a project with these features alone and return its folder."""

    def make(*features: str, template: str = "recommender", name: str = "demo") -> Path:
        words = [word for feature in features for word in ("--with", feature)]
        words = ["new", template, name, "-y", "--minimal", *words]
        result = aistart(*words, "--set", "package_name=my_app")
        assert result.exit_code == 0, result.output
        return isolated / name

    return make


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def check(command: list[str], folder: Path, **variables: str) -> str:
    done = run(command, folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# === Editors ===


def list_files(project: Path) -> list[Path]:
    names = check(["git", "ls-files"], project).splitlines()
    return [project / name for name in names]


@pytest.mark.parametrize("template", find_templates())
def test_files_keep_to_the_editor_settings(make_project: Callable, template: str) -> None:
    features = find_templates()[template].features
    project = make_project(*features, template=template)
    settings = (project / ".editorconfig").read_text().split("\n[")[1]
    assert {"end_of_line = lf", "insert_final_newline = true"} <= set(settings.splitlines())
    assert "trim_trailing_whitespace = true" in settings
    files = list_files(project)
    assert project / ".vscode/tasks.json" in files
    assert project / ".editorconfig" in files
    for path in files:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            assert path.suffix == ".xz", path
            continue
        assert b"\r" not in content, path
        assert not text or text.endswith("\n"), path
        assert not re.search(r"[ \t]$", text, re.MULTILINE), path
        has_tabs = path.name == "Makefile" or path.suffix == ".mk"
        assert has_tabs or not re.search(r"^ *\t", text, re.MULTILINE), path


@pytest.mark.parametrize("features", [(), ("serve", "devcontainer")])
def test_tasks_and_debug_launches(make_project: Callable, features: tuple[str, ...]) -> None:
    project = make_project(*features)
    tasks = {task["label"]: task for task in read_json(project / ".vscode/tasks.json")["tasks"]}
    assert ("Serve the latest run" in tasks) == ("serve" in features)
    assert {"Set up", "Train: smoke", "Evaluate the latest run", "Lint", "Test"} <= set(tasks)
    for task in tasks.values():
        program, *words = shlex.split(task["command"])
        assert program in ("make", ".venv/bin/my-app")
        if program == "make":
            check(["make", "--dry-run", *words], project)
    launches = read_json(project / ".vscode/launch.json")["configurations"]
    names = [launch["name"] for launch in launches]
    assert len(set(names)) == len(names)
    assert ("Serve the latest run" in names) == ("serve" in features)
    assert {launch["module"] for launch in launches} == {"my_app", "pytest"}
    assert all(launch["type"] == "debugpy" for launch in launches)
    settings = read_json(project / ".vscode/settings.json")
    assert settings["python.defaultInterpreterPath"] == "${workspaceFolder}/.venv/bin/python"
    if "devcontainer" in features:
        for place in ("devcontainer.json", "gpu/devcontainer.json"):
            container = read_json(project / ".devcontainer" / place)
            extensions = container["customizations"]["vscode"]["extensions"]
            recommended = read_json(project / ".vscode/extensions.json")["recommendations"]
            assert extensions == recommended


@pytest.mark.slow
def test_a_debug_launch_trains_and_a_task_evaluates(make_project: Callable) -> None:
    project = make_project(template="vision-classifier")
    programs = project / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("train", "evaluate"):
        (programs / name).write_text(f'#!/bin/sh\nexec {project_python()} -m my_app {name} "$@"\n')
        (programs / name).chmod(0o755)
    variables = {
        "PYTHONPATH": "src",
        "APP__TRACKING__ENABLED": "false",
        "APP__TRAIN__MAX_STEPS": "3",
    }
    launch = read_json(project / ".vscode/launch.json")["configurations"][0]
    check([str(project_python()), "-m", launch["module"], *launch["args"]], project, **variables)
    tasks = {task["label"]: task for task in read_json(project / ".vscode/tasks.json")["tasks"]}
    # What the task "Train: smoke" would do has just been done.
    dry = check(["sh", "-c", f"{tasks['Train: smoke']['command']} --dry-run"], project)
    assert dry.splitlines()[-1] == f".venv/bin/train {' '.join(launch['args'][1:3])}"
    report = check(["sh", "-c", tasks["Evaluate the latest run"]["command"]], project, **variables)
    assert "test" in report


# === CONTRIBUTING.md ===


@pytest.mark.parametrize("template", find_templates())
def test_contributing_names_what_is_there(make_project: Callable, template: str) -> None:
    project = make_project(template=template, name="minimal")
    text = (project / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (project / path).exists(), path
    for path in re.findall(r"`((?:src|tests|configs|\.vscode)/[\w/.]*)`", text):
        assert (project / path).exists(), path
    targets = re.findall(r"^(\w+):", (project / "Makefile").read_text(), re.MULTILINE)
    for words in re.findall(r"^ *make ([\w ]+)", text, re.MULTILINE):
        assert set(words.split()) <= set(targets)
    assert f"from the template `{template}`" in text
    assert "## Hooks" not in text
    assert "\n\n\n" not in text
    more = (make_project("pre-commit", template=template) / "CONTRIBUTING.md").read_text()
    assert more.index("## A dependency") < more.index("## Hooks") < more.index("## Updates")
    assert "\n\n\n" not in more


# === A container to develop in ===


@pytest.mark.parametrize("features", [("devcontainer",), ("devcontainer", "serve")])
def test_container_to_develop_in(make_project: Callable, features: tuple[str, ...]) -> None:
    project = make_project(*features)
    folder = project / ".devcontainer"
    check([tool("hadolint"), "Dockerfile"], folder)
    lines = (folder / "Dockerfile").read_text().splitlines()
    assert "ARG PYTHON_VERSION=3.11" in lines
    assert "FROM python:${PYTHON_VERSION}-bookworm" in lines
    ports = {5000} if "serve" not in features else {5000, 8000}
    for path in (folder / "devcontainer.json", folder / "gpu/devcontainer.json"):
        container = read_json(path)
        assert (path.parent / container["build"]["dockerfile"]).is_file()
        assert set(container["forwardPorts"]) == ports
        assert {int(port) for port in container["portsAttributes"]} == ports
        assert container["remoteUser"] in "\n".join(lines)
        assert container["postCreateCommand"].split(" && ")[0] == "make setup"
    assert container["runArgs"] == ["--gpus=all"]
    assert container["hostRequirements"]["gpu"] is True
    assert "gpu = [" in (project / "pyproject.toml").read_text()
    readme = (project / "README.md").read_text()
    assert f"forwards the ports {'8000 and 5000' if 8000 in ports else '5000'}," in readme


# === Hooks of git ===


def test_hooks_have_the_versions_of_the_projects() -> None:
    def read_versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))

    hooks = read_versions(HOOKS_LOCK)
    assert {"pre-commit", "pre-commit-hooks"} <= set(hooks)
    assert "://" not in HOOKS_LOCK.read_text()
    for template in find_templates():
        lock = templates_root() / template / PROJECT_FOLDER / "requirements.lock"
        locked = read_versions(lock)
        assert {name: locked.get(name, version) for name, version in hooks.items()} == hooks


def test_all_hooks_are_programs_of_the_project(make_project: Callable) -> None:
    project = make_project("pre-commit")
    (repository,) = yaml.safe_load((project / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] in ("unsupported", "fail", "pygrep"), "others install packages"
        if hook["language"] == "unsupported":
            assert hook["entry"].startswith(".venv/bin/")
    dry = check(["make", "--dry-run", "hooks"], project)
    assert ".venv/bin/python -m pip install --quiet -r requirements-hooks.lock\n" in dry
    assert dry.splitlines()[-1] == ".venv/bin/pre-commit install"


@pytest.fixture
def repository_with_hooks(make_project: Callable) -> Path:
    """A repository with its hooks installed, in an environment of the locks' versions."""
    project = make_project("pre-commit")
    python = str(project / ".venv/bin/python")
    check([*UV, "venv", "--python", sys.executable, ".venv"], project)
    install = [*UV, "pip", "install", "--python", python]
    check([*install, "--require-hashes", "-r", "requirements-hooks.lock"], project)
    (ruff,) = re.findall(r"^ruff==\S+", (project / "requirements.lock").read_text(), re.MULTILINE)
    check([*install, ruff], project)
    mypy = project / ".venv/bin/mypy"  # the program itself takes half a minute, and TensorFlow
    mypy.write_text("#!/bin/sh\n! grep 'int = \"' src/my_app/good.py\n")
    mypy.chmod(0o755)
    for name in ("train", "pre-commit"):  # what `make` would make
        (project / ".venv/bin" / name).touch()
    check(["make", "hooks"], project)
    for key, value in (("user.name", "A"), ("user.email", "a@b")):
        check(["git", "config", key, value], project)
    return project


@pytest.mark.slow
def test_commits_are_checked(repository_with_hooks: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "http_proxy": "http://127.0.0.1:9"}
    offline["https_proxy"] = offline["http_proxy"]

    def commit(files: dict[str, str]) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (repository_with_hooks / name).parent.mkdir(parents=True, exist_ok=True)
            (repository_with_hooks / name).write_text(text)
        check(["git", "add", "--force", *files], repository_with_hooks)
        return run(["git", "commit", "--message", "A change"], repository_with_hooks, **offline)

    check(["make", "run-hooks"], repository_with_hooks, **offline)
    before = check(["git", "rev-parse", "HEAD"], repository_with_hooks)
    key = "-----BEGIN " + "RSA PRIVATE KEY-----\n"
    for name, text, hook in (
        ("src/my_app/bad.py", "import os\n", "ruff check"),
        ("src/my_app/bad.py", "x = {  'a':1 }\n", "ruff format"),
        ("configs/bad.yaml", "a: [\n", "YAML is valid"),
        ("src/my_app/bad.md", "<<<<<<< ours\na\n", "no merge markers"),
        ("src/my_app/bad.txt", "x" * 1_100_000 + "\n", "no file of more than 1 MB"),
        ("runs/1/summary.json", "{}\n", "no runs, reports"),
        ("src/my_app/model.keras", "model\n", "no runs, reports"),
        (".env", "A=b\n", "no files of secrets"),
        ("src/my_app/bad.txt", key, "no private keys"),
        ("src/my_app/bad.txt", "token: ghp_" + "a1B2" * 9 + "\n", "no tokens of AWS"),
    ):
        done = commit({name: text})
        assert done.returncode == 1, done.stdout + done.stderr
        failures = [line for line in done.stderr.splitlines() if line.endswith("Failed")]
        assert [failure.startswith(hook) for failure in failures] == [True], done.stderr
        check(["git", "reset", "--quiet", "--hard"], repository_with_hooks)
    assert check(["git", "rev-parse", "HEAD"], repository_with_hooks) == before
    done = commit({"src/my_app/good.py": 'GOOD = "good"\n', ".env.example": "A=\n"})
    assert done.returncode == 0, done.stderr
    check(["git", "init", "--quiet", "--bare", "../server.git"], repository_with_hooks)
    check(["git", "remote", "add", "origin", "../server.git"], repository_with_hooks)
    check(["git", "push", "origin", "main"], repository_with_hooks, **offline)
    assert commit({"src/my_app/good.py": 'GOOD: int = "good"\n'}).returncode == 0
    done = run(["git", "push", "origin", "main"], repository_with_hooks, **offline)
    assert done.returncode == 1
    assert 'GOOD: int = "good"' in done.stdout


# === Updates of the template, each week ===


def test_workflow_of_updates(make_project: Callable) -> None:
    project = make_project("update-check")
    check([tool("zizmor"), "--offline", "--no-progress", ".github"], project)
    file = ".github/workflows/update_check.yaml"
    schema = [tool("check-jsonschema"), "--builtin-schema"]
    check([*schema, "vendor.github-workflows", file], project)
    workflow = yaml.safe_load((project / file).read_text())
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {
        "contents": "write",
        "pull-requests": "write",
        "issues": "write",
    }
    for step in job["steps"]:
        assert re.fullmatch(
            r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", f"actions/a@{40 * 'a'}")
        )
    assert job["steps"][-1]["run"] == "bash .github/propose_update.sh"
    (snippet,) = re.findall(
        r"```yaml\n(update-check:.*?)```", (project / "README.md").read_text(), re.DOTALL
    )
    (project / "gitlab.yaml").write_text(snippet)
    check([*schema, "vendor.gitlab-ci", "gitlab.yaml"], project)


GH = """#!/bin/sh
echo "$@" >> "$CALLS"
body=$(echo "$@" | sed -n 's/.*--body-file //p')
[ -z "$body" ] || cp "$body" "$CALLS.body"
case "$1 $2" in
    "pr create" | "issue create") touch "$CALLS.$1" ;;
    "pr list" | "issue list") [ ! -e "$CALLS.$1" ] || echo 7 ;;
esac
"""
# Its behaviour is that of the file "due" beside it.
AISTART = """#!/bin/sh
due=$(cat "$CALLS.due")
case "$*" in
    "update --check"*) [ "$due" = nothing ]; exit ;;
    "update --abort") rm -r .aistart/update; git checkout --quiet . ;;
    *)
        [ "$due" != broken ] || { echo "Error: git: no such thing."; exit 1; }
        echo "$due" >> README.md
        echo "1 file updated: README.md"
        [ "$due" = conflicts ] || exit 0
        mkdir -p .aistart/update/current
        exit 1
        ;;
esac
"""


@dataclass
class Proposals:
    """A clone of a project's repository, and programs in the place of ``aistart`` and ``gh``."""

    folder: Path
    calls: Path
    programs: Path

    def propose(self, due: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        Path(f"{self.calls}.due").write_text(due)
        self.calls.write_text("")
        check(["git", "switch", "--quiet", "main"], self.folder)
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", ".github/propose_update.sh"]
        return run(command, self.folder, PATH=path, CALLS=str(self.calls), **variables)

    @property
    def body(self) -> str:
        return Path(f"{self.calls}.body").read_text()

    def list_calls(self) -> list[str]:
        return [" ".join(line.split()[:3]) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def proposals(make_project: Callable, isolated: Path) -> Proposals:
    project = make_project("update-check")
    programs = isolated / "programs"
    programs.mkdir()
    for name, text in (("gh", GH), ("aistart", AISTART)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    check(["git", "clone", "--quiet", "--bare", str(project), "server.git"], isolated)
    check(
        ["git", "clone", "--quiet", "--depth=1", f"file://{isolated}/server.git", "clone"], isolated
    )
    return Proposals(isolated / "clone", isolated / "calls", programs)


def test_an_update_is_proposed_once_and_kept_up_to_date(proposals: Proposals) -> None:
    done = proposals.propose("nothing")
    assert (done.returncode, proposals.list_calls()) == (0, [])
    done = proposals.propose("first")
    assert done.returncode == 0, done.stderr
    assert proposals.list_calls() == ["auth setup-git", "pr list --head", "pr create --head"]
    assert proposals.body == (
        "Merged with this project by `aistart update`:\n\n    1 file updated: README.md\n"
    )
    server = proposals.folder.parent / "server.git"
    assert check(["git", "show", "aistart-update:README.md"], server).endswith("\nfirst\n")
    assert check(["git", "rev-list", "--count", "main..aistart-update"], server) == "1\n"
    done = proposals.propose("second")
    assert proposals.list_calls() == ["auth setup-git", "pr list --head", "pr edit aistart-update"]
    assert check(["git", "show", "aistart-update:README.md"], server).endswith("\nsecond\n")
    assert check(["git", "rev-list", "--count", "main..aistart-update"], server) == "1\n"


def test_a_branch_that_others_have_edited_stays(proposals: Proposals) -> None:
    assert proposals.propose("first").returncode == 0
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    commit = ["git", *identity, "commit", "--quiet", "--allow-empty", "--message", "By hand"]
    check(commit, proposals.folder)
    check(["git", "push", "--quiet", "origin", "aistart-update"], proposals.folder)
    done = proposals.propose("second")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        "The branch aistart-update has commits of others and stays as it is: merge or delete it."
    )
    server = proposals.folder.parent / "server.git"
    assert check(["git", "log", "-1", "--format=%s", "aistart-update"], server) == "By hand\n"


def test_conflicts_become_an_issue(proposals: Proposals) -> None:
    for last in ("issue create --title", "issue edit 7"):
        done = proposals.propose("conflicts")
        assert done.returncode == 0, done.stderr
        assert proposals.list_calls() == ["issue list --state", last]
        assert "    1 file updated: README.md\n" in proposals.body
        assert check(["git", "status", "--porcelain"], proposals.folder) == ""


def test_an_error_of_aistart_is_one_of_the_workflow(proposals: Proposals) -> None:
    done = proposals.propose("broken")
    assert done.returncode == 1
    assert done.stdout == "Error: git: no such thing.\n"
    assert proposals.list_calls() == []


def test_updates_of_a_template_of_ones_own_are_proposed(
    aistart: Callable, isolated: Path, proposals: Proposals
) -> None:
    """With the real program, on a project of a template that changes."""
    template = isolated / "template"
    layers = {"_layers": ["base", "engine"]}
    notes = "".join(f"line {number}\n" for number in range(9))
    write_template(template, {"notes.md": notes}, **layers)
    words = ("--trust", "-y", "-q", "--minimal", "--with", "update-check")
    assert aistart("new", "./template", "team", *words).exit_code == 0
    shutil.rmtree(isolated / "server.git")
    shutil.rmtree(isolated / "clone")
    check(["git", "clone", "--quiet", "--bare", "team", "server.git"], isolated)
    check(["git", "clone", "--quiet", f"file://{isolated}/server.git", "clone"], isolated)
    (proposals.programs / "aistart").unlink()
    (proposals.programs / "aistart").symlink_to(tool("aistart"))
    done = proposals.propose(AISTART_OPTIONS="--trust")
    assert (done.returncode, proposals.list_calls()) == (0, []), done.stderr

    write_template(template, {"notes.md": notes.replace("line 7", "line seven")}, **layers)
    done = proposals.propose()
    assert done.returncode == 2, "nobody has said that the template is trusted"
    (proposals.folder / "notes.md").write_text(notes.replace("line 1", "ours"))
    commit(proposals.folder)
    check(["git", "push", "--quiet", "origin", "main"], proposals.folder)
    done = proposals.propose(AISTART_OPTIONS="--trust")
    assert done.returncode == 0, done.stderr
    assert proposals.list_calls()[-1] == "pr create --head"
    assert "notes.md" in proposals.body
    server = isolated / "server.git"
    merged = notes.replace("line 1", "ours").replace("line 7", "line seven")
    assert check(["git", "show", "aistart-update:notes.md"], server) == merged
    changed = check(["git", "diff", "--name-only", "main", "aistart-update"], server).splitlines()
    assert set(changed) == {".aistart/pristine.xz", "notes.md"}

    write_template(template, {"notes.md": notes.replace("line 1", "theirs")}, **layers)
    done = proposals.propose(AISTART_OPTIONS="--trust")
    assert done.returncode == 0, done.stderr
    assert proposals.list_calls()[-1] == "issue create --title"
    assert "notes.md" in proposals.body
    assert check(["git", "status", "--porcelain"], proposals.folder) == ""
    assert "ours" in (proposals.folder / "notes.md").read_text()
