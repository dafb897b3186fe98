"""Updates of projects of the built-in templates: other answers, features, and a newer aistart."""

import ast
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from aistart import __version__, catalog
from aistart.cli import main
from aistart.update.changelog import find_releases, read_releases
from tests.generator.updates import commit, read_project, write_files

Call = Callable[..., Result]


def make(aistart: Call, isolated: Path, template: str, *words: str) -> Path:
    result = aistart("new", template, "demo", "-y", "-q", *words)
    assert result.exit_code == 0, result.output
    return isolated / "demo"


def render_again(aistart: Call, project: Path) -> dict[str, tuple[str, bytes]]:
    """Make a project anew from the answers of another one, and return its files."""
    answers = project / ".aistart/answers.toml"
    template = re.search(r'template = "(.*)"', answers.read_text())
    assert template
    words = ["-y", "-q", "--no-git", "-o", "again", "--answers", str(answers)]
    result = aistart("new", template[1], *words)
    assert result.exit_code == 0, result.output
    (folder,) = Path("again").iterdir()
    files = read_project(folder)
    shutil.rmtree("again")
    return files


@pytest.mark.parametrize("template", ["vision-classifier", "recommender"])
def test_other_name(aistart: Call, isolated: Path, template: str) -> None:
    """Files move, edits stay, and so do the user's own files in the package."""
    project = make(aistart, isolated, template)
    unedited = shutil.copytree(project, isolated / "unedited")
    model = project / "src/demo/model.py"
    model.write_text("# mine\n" + model.read_text())
    write_files(project, {"src/demo/mine.py": "mine = 1\n", "src/demo/own/deep.py": "deep = 2\n"})
    write_files(project, {"tests/test_mine.py": "from demo import mine\n"})
    commit(project)
    for folder in (unedited, project):
        result = aistart("update", str(folder), "--set", "project_name=My Shop")
        assert result.exit_code == 0, result.output
        assert not (folder / "src/demo").exists()
    assert re.search(r"\n  src/my_shop/ \(\d+ files\)\n    was src/demo/\n", result.output)
    assert "Files of yours that still say 'demo': tests/test_mine.py.\n" in result.output
    assert read_project(unedited) == render_again(aistart, unedited)
    package = project / "src/my_shop"
    assert (package / "model.py").read_text().startswith("# mine\n")
    assert (package / "mine.py").read_text() == "mine = 1\n"
    assert (package / "own/deep.py").read_text() == "deep = 2\n"
    (project / "tests/test_mine.py").unlink()
    for path in [*project.glob("src/**/*.py"), *project.glob("tests/**/*.py")]:
        for module in list_imports(path):
            assert module.split(".")[0] != "demo", path
            if module.startswith("my_shop"):
                place = project / "src" / module.replace(".", "/")
                assert place.is_dir() or place.with_suffix(".py").is_file(), (path, module)


def list_imports(path: Path) -> list[str]:
    """List the modules that a file imports, relative ones by their full names."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            package = path.parents[node.level - 1]
            parts = package.parts[package.parts.index("src") + 1 :] if "src" in path.parts else ()
            names.append(".".join([*parts, *([node.module] if node.module else [])]))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


@pytest.mark.parametrize(
    "setting", ["license=MIT", "tracking_uri=http://mlflow:5000", "python_version=3.13"]
)
def test_other_answer(aistart: Call, isolated: Path, setting: str) -> None:
    project = make(aistart, isolated, "recommender")
    before = read_project(project)
    result = aistart("update", str(project), "--set", setting)
    assert result.exit_code == 0, result.output
    after = read_project(project)
    assert after != before
    assert after == render_again(aistart, project)
    commit(project)
    refused = aistart("update", str(project), "--set", "license=MTI")
    assert refused.exit_code == 2
    assert "license: 'MTI' is not one of: Proprietary, MIT, BSD-3-Clause; did" in refused.output
    assert read_project(project) == after


def test_features_come_and_go(aistart: Call, isolated: Path) -> None:
    project = make(aistart, isolated, "vision-classifier", "--minimal")
    minimal = read_project(project)
    result = aistart("add", "serve", "docker", "ci", "-C", str(project))
    assert result.exit_code == 0, result.output
    assert read_project(project) == render_again(aistart, project)
    commit(project)
    result = aistart("remove", "serve", "docker", "ci", "-C", str(project))
    assert result.exit_code == 0, result.output
    assert read_project(project) == minimal


@pytest.fixture
def newer_templates(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the templates, in which a module of the engine and the Makefile are longer."""
    changed = isolated / "templates"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(catalog.templates_root(), changed, ignore=ignored)
    for path in (*changed.rglob("engine/runs.py"), *changed.rglob("Makefile")):
        path.write_text(path.read_text() + "# of the newer version\n")
    return changed


def test_newer_version(
    aistart: Call, isolated: Path, newer_templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old project becomes the new one; the changelog in between is shown."""
    with monkeypatch.context() as patch:
        patch.setattr("aistart.update.record.__version__", "0.1.0")
        project = make(aistart, isolated, "text-classifier")
    unedited = shutil.copytree(project, isolated / "unedited")
    makefile = project / "Makefile"
    makefile.write_text("# mine\n" + makefile.read_text())
    commit(project)
    monkeypatch.setattr("aistart.catalog.templates_root", lambda: newer_templates)
    listed = json.loads(aistart("status", str(project), "--json").output)[0]
    assert (listed["due"], listed["due_files"], listed["edited_files"]) == (True, 2, 1)
    assert aistart("update", str(project), "--check").exit_code == 1
    result = aistart("update", str(project))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(
        f"text-classifier 0.1.0 → {__version__}\n\n1 updated, 1 merged.\n\n"
        "Updated (1):\n  src/demo/engine/runs.py\n\n"
        "Merged with your edits (1):\n  Makefile\n"
    )
    assert f"\naistart {__version__} (2026-" in result.output
    assert makefile.read_text().startswith("# mine\n")
    assert makefile.read_text().endswith("# of the newer version\n")
    assert aistart("update", str(unedited)).exit_code == 0
    assert read_project(unedited) == render_again(aistart, unedited)
    refused = aistart("add", "ci", "-C", str(project))
    assert "the project already has 'ci'" in refused.output or refused.exit_code == 2


def test_changelog() -> None:
    releases = read_releases()
    assert releases[0].version == __version__
    assert [release.version for release in find_releases("0.1.0", __version__)] == [
        release.version for release in releases[:-1]
    ]
    assert find_releases(__version__, __version__) == []
    assert all(
        release.text and re.fullmatch(r"\d{4}-\d\d-\d\d", release.date) for release in releases
    )


def test_features_are_completed(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(aistart, isolated, "recommender", "--minimal", "--with", "ci")
    monkeypatch.chdir(project)
    for words, incomplete, expected in (
        (["add"], "do", ["docker"]),
        (["add"], "c", ["compose"]),
        (["remove"], "", ["ci"]),
        (["update", "--set"], "license=M", ["license=MIT"]),
    ):
        complete = ShellComplete(main, {}, "aistart", "_AISTART_COMPLETE").get_completions
        assert [item.value for item in complete(words, incomplete)] == expected
