"""The record of a project: what it holds, and what a broken one says."""

import json
import lzma
import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from aistart.answers import resolve_defaults
from aistart.catalog import find_template, find_templates
from aistart.errors import AistartError
from aistart.project import Request
from aistart.sources import open_source
from aistart.update.fingerprints import blob_id
from aistart.update.record import (
    NoPristine,
    RecordProblem,
    RecordSource,
    build_record,
    read_answers_only,
    read_record,
    record_files,
    write_record,
)
from aistart.update.trees import RECORD_PATHS, list_files, read_ours, render_tree
from tests.generator.foreign import write, write_plain_template, write_team_template

Call = Callable[..., Result]

MAX_SIZE = 250_000  # bytes


@pytest.fixture
def demo(aistart: Call, isolated: Path) -> Path:
    write_team_template(isolated / "team")
    assert aistart("new", "./team", "demo", "-y", "--trust").exit_code == 0
    return isolated / "demo"


@pytest.mark.parametrize("template", find_templates())
def test_size_with_all_features(template: str) -> None:
    found = find_template(template)
    request = Request(found, resolve_defaults(found), Path(), tuple(found.features))
    record = build_record(request, None, render_tree(request))
    content = record_files(record)[".aistart/pristine.xz"]
    assert len(content) <= MAX_SIZE
    assert len(record.files) > 150


def test_it_is_the_same_as_a_new_render(aistart: Call, isolated: Path) -> None:
    assert aistart("new", "vision-classifier", "demo", "-y").exit_code == 0
    project, template = isolated / "demo", find_template("vision-classifier")
    record = read_record(project)
    text = (project / ".aistart/answers.toml").read_text()
    assert text.startswith("# What this project was made from, for `aistart update`: keep it, ")
    assert list(tomllib.loads(text)) == ["template", "aistart", "features", "answers"]
    request = Request(template, record.answers, isolated, record.features, year=record.year)
    tree = render_tree(request)
    assert build_record(request, None, tree) == record
    assert read_ours(project, record, tree) == tree
    licence = replace(request, year=1999)
    assert b"(c) 1999 " in render_tree(licence)["LICENSE"].content
    git = ["git", "-C", "demo", "ls-files", ".aistart"]
    assert subprocess.check_output(git, text=True).split() == list(RECORD_PATHS)


def test_source_of_a_folder_is_relative_to_the_project(demo: Path, isolated: Path) -> None:
    record = read_record(demo)
    assert record.source == RecordSource("../team")
    assert record.source.locate(demo) == str(isolated / "team")
    assert str(isolated) not in (demo / ".aistart/answers.toml").read_text()


def test_source_of_a_repository(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_team_template(isolated / "team" / "sub")
    commands = (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["tag", "v1"])
    identity = ["-c", "user.name=t", "-c", "user.email=t@e"]
    for words in commands:
        subprocess.run(["git", *identity, *words], cwd=isolated / "team", check=True)
    commit = subprocess.check_output(["git", "-C", "team", "rev-parse", "HEAD"], text=True).strip()
    url = f"file://{isolated}/team"
    words = ["new", url, "demo", "-y", "--trust", "--directory", "sub", "--checkout", "v1"]
    assert aistart(*words).exit_code == 0
    table = tomllib.loads((isolated / "demo/.aistart/answers.toml").read_text())
    assert table["source"] == {
        "reference": url,
        "directory": "sub",
        "checkout": "v1",
        "commit": commit,
    }
    record = read_record(isolated / "demo")
    assert record.source == RecordSource(url, "sub", "v1", commit)
    assert record.source.locate(isolated / "demo") == url


@pytest.mark.parametrize(
    ("reference", "recorded"),
    [
        ("https://user:secret@example.com/a.git", "https://example.com/a.git"),
        ("https://secret@example.com/a.git", "https://example.com/a.git"),
        ("ssh://git:secret@example.com/a.git", "ssh://git@example.com/a.git"),
        ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("gh:team/templates", "gh:team/templates"),
    ],
)
def test_no_secret_is_recorded(reference: str, recorded: str) -> None:
    template = find_template("recommender")
    foreign = replace(template, is_built_in=False, reference=reference)
    request = Request(foreign, resolve_defaults(template))
    assert build_record(request, None, {}).source == RecordSource(recorded)


def test_plain_template_with_hooks(aistart: Call, isolated: Path) -> None:
    template = write_plain_template(isolated / "template")
    with (template / "hooks/post_gen_project.py").open("a") as hook:
        hook.write("\nfrom pathlib import Path\nPath('.gitignore').write_text('built\\n')\n")
        hook.write("Path('built').mkdir()\nPath('built/big').write_text('x')\n")
    settings = ["--set", "name=a.b c", "--set", "greeting=Hello"]
    assert aistart("new", "./template", "-y", "--trust", "--no-git", *settings).exit_code == 0
    (project,) = (path.parent for path in isolated.glob("*/.aistart"))
    record = read_record(project)
    assert sorted(record.files) == [".gitignore", "hook.txt", "said.txt"]
    assert record.answers["name"] == "a.b c"
    assert record.files["hook.txt"].blob == blob_id(b"ran")


def test_hook_that_writes_the_path_of_the_project(aistart: Call, isolated: Path) -> None:
    template = write_plain_template(isolated / "template")
    with (template / "hooks/post_gen_project.py").open("a") as hook:
        hook.write("\nfrom pathlib import Path\nPath('here').write_text(str(Path.cwd()))\n")
    assert aistart("new", "./template", "-y", "--trust").exit_code == 0
    project = isolated / "plain"
    assert (project / "here").read_text() == str(project)
    record = read_record(project)
    with open_source("./template", None, None) as source:
        request = Request(source.template, record.answers, isolated)
        assert record.with_tree(render_tree(request)) == record


EDIT = "restore it: git -C {} restore .aistart/answers.toml; then answer anew with `aistart update "
EDIT += "--set KEY=VALUE`, and change features with `aistart add` and `remove`."


def fails(project: Path, kind: type[AistartError] = RecordProblem) -> str:
    with pytest.raises(kind) as error:
        read_record(project)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_edited_answers(demo: Path) -> None:
    path = demo / ".aistart/answers.toml"
    text = path.read_text()
    path.write_text(f"# A comment\n\n{text}")
    read_record(demo)
    path.write_text(text.replace('store = "none"', 'store = "bucket"\nother = "x"'))
    assert fails(demo) == (
        "record: .aistart/answers.toml was edited (store, other) and no longer says what the "
        f"project was made from; {EDIT.format(demo)}"
    )
    path.write_text(text.replace('features = ["docs"]', "features = []"))
    assert "was edited (features) and" in fails(demo)
    path.write_text("<<<<<<< HEAD\n")
    assert fails(demo).startswith("record: .aistart/answers.toml is broken (")
    path.write_bytes(b"\xff")
    assert fails(demo).startswith("record: .aistart/answers.toml is broken (")


def test_deleted_record(demo: Path) -> None:
    answers, pristine = (demo / path for path in RECORD_PATHS)
    text = answers.read_bytes()
    answers.unlink()
    restore = f"git -C {demo} restore .aistart/answers.toml"
    assert fails(demo) == f"record: .aistart/answers.toml was deleted; restore it: {restore}"
    answers.write_bytes(text)
    pristine.unlink()
    assert fails(demo, NoPristine) == (
        f"record: {str(demo)!r}, made by aistart 0.2.0, has no .aistart/pristine.xz; restore it "
        "from your repository, or name the commit in it that holds the project as it was made: "
        "`aistart update --base REVISION`."
    )
    assert read_answers_only(demo).features == ("docs",)
    answers.unlink()
    assert fails(demo) == (
        f"PROJECT: {str(demo)!r} is not a project of aistart: it has no .aistart/answers.toml."
    )


def test_record_of_a_newer_version(demo: Path) -> None:
    write_record(demo, replace(read_record(demo), aistart="9.1.0"))
    assert fails(demo) == (
        f"record: {str(demo)!r} was made or updated by aistart 9.1.0, and this is 0.2.0: install "
        "the newer one first."
    )
    with pytest.raises(RecordProblem, match=r"9\.1\.0"):
        read_answers_only(demo)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xfd7zXZ\0 no",
        lzma.compress(b"[]"),
        lzma.compress(b"{}\n"),
        lzma.compress(b"[" * 100_000),
        lzma.compress(bytes(100_000_000), preset=0),
    ],
    ids=["empty", "no xz", "no table", "empty table", "nested", "large"],
)
def test_broken_pristine(demo: Path, content: bytes) -> None:
    (demo / ".aistart/pristine.xz").write_bytes(content)
    message = fails(demo)
    restore = f"restore it: git -C {demo} restore .aistart/pristine.xz"
    assert re.fullmatch(rf"record: \.aistart/pristine\.xz is broken \(.+\); {restore}", message)


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", ".git/hooks/pre-commit", "", "a/.GIT/b"]
)
def test_pristine_that_leads_elsewhere(demo: Path, path: str) -> None:
    file = demo / ".aistart/pristine.xz"
    head, _, body = lzma.decompress(file.read_bytes()).partition(b"\n")
    table = json.loads(head)
    table["files"][0][0] = path
    file.write_bytes(lzma.compress(json.dumps(table).encode() + b"\n" + body))
    assert "lies outside of the project" in fails(demo)


def test_truncated_body(demo: Path) -> None:
    file = demo / ".aistart/pristine.xz"
    file.write_bytes(lzma.compress(lzma.decompress(file.read_bytes())[:-1]))
    assert "it ends too early" in fails(demo)


def test_ours(demo: Path, isolated: Path) -> None:
    """What is read of a project, and what is not."""
    record = read_record(demo)
    write(demo / ".gitignore", "runs/\n")
    write(demo / "runs/a", "ignored")
    write(demo / "runs/known", "of the template's")
    write(demo / "own.txt", "mine")
    (demo / "large").write_bytes(bytes(1_000_001))
    write(demo / "sub/file", "of a submodule")
    subprocess.run(["git", "init", "-q", "sub"], cwd=demo, check=True)
    (demo / "link").symlink_to("./nowhere/")
    (demo / "docs.md").unlink()
    write(demo / "docs.md/own", "in a folder")
    theirs = {path: read_ours(demo, record, {})["own.txt"] for path in ("runs/known", "sub/new")}
    tree = read_ours(demo, record, theirs)
    assert {path: (entry.mode, entry.content) for path, entry in tree.items()} == {
        ".gitignore": ("100644", b"runs/\n"),
        "README.md": ("100644", b"# demo\n"),
        "docs.md/own": ("100644", b"in a folder"),
        "link": ("120000", b"./nowhere/"),
        "own.txt": ("100644", b"mine"),
        "runs/known": ("100644", b"of the template's"),
        "store.txt": ("100644", b"none team-bucket\n"),
        "sub": ("160000", b""),
        "tests/test_store.py": ("100644", (demo / "tests/test_store.py").read_bytes()),
    }
    blocked = read_ours(demo, record, {"docs.md": theirs["sub/new"], "runs": theirs["sub/new"]})
    assert blocked["docs.md"].mode == blocked["runs"].mode == "040000"
    (demo / "tests").rename(isolated / "elsewhere")
    (demo / "tests").symlink_to(isolated / "elsewhere")
    assert read_ours(demo, record, {})["tests"].mode == "120000"
    assert "tests/test_store.py" not in read_ours(demo, record, {})


def test_users_files_that_take_no_part_are_not_read(demo: Path) -> None:
    """Thousands of images in git would make an update slow."""
    record = read_record(demo)
    theirs = read_ours(demo, record, {})
    write(demo / "own.md", "as long as others")
    write(demo / "tests/own.png", "x" * 1000)
    assert read_ours(demo, record, theirs) == theirs
    (demo / "README.md").rename(demo / "INTRODUCTION.md")
    renamed = read_ours(demo, record, theirs)
    assert renamed.keys() - theirs.keys() == {"INTRODUCTION.md", "own.md"}
    without_tests = {path: entry for path, entry in theirs.items() if "tests/" not in path}
    assert "tests/own.png" in read_ours(demo, record, without_tests)


@pytest.mark.parametrize("place", ["repository", "none", "within another", "ignored by another"])
def test_files_that_git_does_not_ignore(isolated: Path, place: str) -> None:
    project = isolated / "outer/demo"
    write(project / ".gitignore", "*.log\n")
    write(project / "a", "")
    write(project / "b.log", "")
    if place != "none":
        folder = project if place == "repository" else isolated / "outer"
        subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    if place == "ignored by another":
        write(isolated / "outer/.gitignore", "demo/\n")
    assert sorted(list_files(project)) == [".gitignore", "a"]


def test_file_system_without_executable_bit(demo: Path) -> None:
    record = read_record(demo)
    for path in list_files(demo):
        (demo / path).chmod(0o755)
    assert {entry.mode for entry in read_ours(demo, record, {}).values()} == {"100644"}
    (demo / "README.md").chmod(0o644)
    assert read_ours(demo, record, {})["store.txt"].mode == "100755"


def test_file_that_cannot_be_read(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    record = read_record(demo)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AistartError, match=r"^README\.md: it cannot be read: Permission denied\.$"):
        read_ours(demo, record, {})
