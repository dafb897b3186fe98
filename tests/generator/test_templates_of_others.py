"""Templates that are not aistart's: folders, repositories, cookiecutter's own; and trust."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.generator.foreign import PROJECT, write, write_plain_template, write_team_template
from tests.generator.terminal import CTRL_U, DOWN, run_on_terminal

Call = Callable[..., Result]


def init_repository(folder: Path) -> Path:
    """Make the folder a repository with one commit and a tag."""
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["-c", "user.name=T", "-c", "user.email=t@e", "commit", "--quiet", "-m", "One"],
        ["tag", "v1"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_folder_with_our_keys(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 0, result.output
    made = sorted(path.name for path in (isolated / "demo").iterdir())
    assert made == [".aistart", ".git", "README.md", "docs.md", "store.txt", "tests"]
    assert (isolated / "demo/store.txt").read_text() == "none team-bucket\n"
    assert "\n  aistart new ./team demo -y --trust\n" in result.output


def test_layers_may_name_our_base(aistart: Call, isolated: Path) -> None:
    team = isolated / "team"
    write_team_template(team, _layers=["base"], author="The Team")
    (team / PROJECT / "README.md").unlink()
    assert aistart("new", "./team", "demo", "-y", "--trust").exit_code == 0
    assert "The Team" in (isolated / "demo/pyproject.toml").read_text()
    assert (isolated / "demo/store.txt").exists()


def test_plain_cookiecutter_template(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "template")
    words = ["new", "./template", "-y", "--trust", "--set"]
    result = aistart(*words, "name=Other")
    assert result.exit_code == 0, result.output
    said = (isolated / "other/said.txt").read_text()
    assert said == "OTHER 805 docs docs Hello Other {{ kept }}\n"
    assert (isolated / "other/hook.txt").read_text() == "ran"
    assert "  cd other\n\nThe same again" in result.output
    assert sorted(path.name for path in (isolated / "template").iterdir()) == [
        "cookiecutter.json",
        "hooks",
        "local_words.py",
        "{{ cookiecutter.slug }}",
    ]
    choices = ["--set", "with_docs=no", "--set", "greeting=Hello"]
    assert aistart(*words, "name=X", *choices).exit_code == 0
    assert (isolated / "x/said.txt").read_text() == "X 801 bare bare Hello {{ kept }}\n"
    refused = aistart(*words, "name=y", "--set", "with_docs=maybe")
    assert refused.output.endswith("Error: with_docs: 'maybe' is not one of: yes, no.\n")


def test_it_is_made_as_cookiecutter_makes_it(aistart: Call, isolated: Path) -> None:
    from cookiecutter.main import cookiecutter

    write_plain_template(isolated / "template")
    theirs = Path(cookiecutter(str(isolated / "template"), no_input=True, output_dir="theirs"))
    assert aistart("new", "./template", "-y", "--trust", "--no-git").exit_code == 0
    ours = isolated / "plain"
    assert theirs.name == ours.name
    files = {path.name: path.read_text() for path in theirs.iterdir()}
    shutil.rmtree(ours / ".aistart")
    assert {path.name: path.read_text() for path in ours.iterdir()} == files
    assert sorted(files) == ["hook.txt", "said.txt"]


def test_name_of_a_plain_template_is_that_of_its_folder(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "template")
    result = aistart("new", "./template", "named", "-y", "--trust")
    assert result.exit_code == 0, result.output
    assert (isolated / "named/said.txt").read_text().startswith("PLAIN 805 ")
    assert "\n  aistart new ./template named -y --trust\n" in result.output
    folder = isolated / "template" / "{{ cookiecutter.slug }}"
    folder.rename(folder.with_name("{{ cookiecutter.name }}-{{ cookiecutter.slug }}"))
    result = aistart("new", "./template", "named", "-y", "--trust")
    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: NAME: template has no question for it; use --set KEY=VALUE with one of: name, "
        "slug, with_docs, page, greeting.\n"
    )


def test_hook_before_the_questions(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "template")
    hook = isolated / "template" / "hooks" / "pre_prompt.py"
    change = "from pathlib import Path\n\nplace = Path('cookiecutter.json')\n"
    change += "place.write_text(place.read_text().replace('Plain', 'Hooked'))\n"
    write(hook, change)
    manifest = (isolated / "template" / "cookiecutter.json").read_text()
    assert aistart("new", "./template", "-y", "--trust").exit_code == 0
    assert (isolated / "hooked/said.txt").read_text().startswith("HOOKED 806 ")
    assert (isolated / "template" / "cookiecutter.json").read_text() == manifest
    write(hook, "raise SystemExit(1)\n")
    result = aistart("new", "./template", "-y", "--trust")
    assert result.exit_code == 1
    assert result.output.endswith("Error: template: one of its hooks failed (exit status: 1)\n")


def test_several_templates_in_one(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "all" / "plain")
    several = {"plain": {"path": "./plain", "title": "Plain", "description": ""}}
    for manifest in ({"templates": several}, {"template": ["Plain (./plain)"]}):
        write(isolated / "all" / "cookiecutter.json", json.dumps(manifest))
        result = aistart("show", "./all", "--trust")
        assert result.exit_code == 2
        assert result.output.endswith(
            "holds several templates; choose one with --directory: plain.\n"
        )
    assert aistart("new", "./all", "-y", "--trust", "--directory", "plain").exit_code == 0
    for manifest in ({"templates": {"plain": {}}}, {"templates": ["plain"]}, {"template": 5}):
        write(isolated / "all" / "cookiecutter.json", json.dumps(manifest))
        result = aistart("new", "./all", "-y", "--trust")
        assert result.exit_code == 2
        assert result.output.splitlines()[-1].startswith("Error: template: ")


def test_show(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", owner=None)
    assert aistart("show", "./team").exit_code == 2, "it renders the template"
    result = aistart("show", "./team", "--trust")
    assert result.exit_code == 0, result.output
    assert "\n  store         none (or bucket)\n" in result.output
    assert "\n  owner         (must be answered)\n" in result.output
    assert "\n  chart  off  a chart\n" in result.output
    assert "\n  store.txt " in result.output
    found = json.loads(aistart("show", "./team", "--trust", "--json").stdout)
    assert [q["default"] for q in found["questions"] if q["key"] == "owner"] == [None]


def test_repository_with_revision_and_directory(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "source" / "inner" / "team")
    source = init_repository(isolated / "source")
    write(source / "inner" / "team" / PROJECT / "later.txt", "later\n")
    subprocess.run(["git", "add", "--all"], cwd=source, check=True)
    made = ["-c", "user.name=T", "-c", "user.email=t@e", "commit", "--quiet", "-m", "Two"]
    subprocess.run(["git", *made], cwd=source, check=True)
    words = ["new", source.as_uri(), "-y", "--directory", "inner/team", "--trust"]
    assert aistart(*words, "--set", "project_name=new").exit_code == 0
    assert (isolated / "new/later.txt").exists()
    result = aistart(*words, "--set", "project_name=old", "--checkout", "v1")
    assert result.exit_code == 0
    assert not (isolated / "old/later.txt").exists()
    wanted = ["git", "rev-parse", "v1"]
    commit = subprocess.run(wanted, cwd=source, capture_output=True, text=True).stdout.strip()
    again = f"new {source.as_uri()} old -y --checkout {commit} --directory inner/team --trust\n"
    assert again in result.output
    shutil.rmtree("old")
    assert aistart(*shlex.split(again)).exit_code == 0
    assert not (isolated / "old/later.txt").exists()


def test_without_trust_nothing_runs(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "plain")
    evil = "{{ cycler.__init__.__globals__.os.system('touch ran') }}"
    write(isolated / "plain" / "{{ cookiecutter.slug }}" / "evil.txt", evil)
    result = aistart("new", "./plain", "-y")
    assert result.exit_code == 2
    assert result.output.splitlines()[1:] == [
        "  hook       hooks/post_gen_project.py",
        "  extension  local_words.Shout",
        "  Jinja      in every file and file name: it can call any Python function",
        "Error: template: './plain' does not come with aistart, and to render it is to run its "
        "code; look at it, then use --trust.",
    ]
    assert [path.name for path in isolated.iterdir()] == ["plain"]


def test_all_that_a_layer_runs_is_shown(aistart: Call, isolated: Path) -> None:
    team = write_team_template(
        isolated / "team", _layers_by_choice={"store": {"bucket": "./bucket"}}
    )
    for folder in ("bucket", "features/chart"):
        write(team / folder / "cookiecutter.json", json.dumps({"_extensions": [f"of.{folder}"]}))
        write(team / folder / "hooks" / "pre_gen_project.sh", "true\n")
        (team / folder / PROJECT).mkdir(parents=True, exist_ok=True)
    result = aistart("new", "./team", "-y")
    assert result.output.splitlines()[1:5] == [
        "  hook       bucket/hooks/pre_gen_project.sh",
        "  hook       features/chart/hooks/pre_gen_project.sh",
        "  extension  of.bucket",
        "  extension  of.features/chart",
    ]


def test_trust_is_remembered_for_one_version(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    assert aistart("new", "./team", "one", "-y").exit_code == 2
    assert aistart("new", "./team", "quiet", "-y", "-q", "--trust").output == ""
    assert "it can call any Python" in aistart("new", "./team", "one", "-y", "-q").output
    assert aistart("new", "./team", "one", "-y", "--trust-always").exit_code == 0
    assert aistart("new", "./team", "two", "-y").exit_code == 0
    write(isolated / "team" / PROJECT / "new.txt", "changed\n")
    assert aistart("new", "./team", "three", "-y").exit_code == 2
    assert not (isolated / "three").exists()


def test_trust_is_in_all_that_can_run(aistart: Call, isolated: Path) -> None:
    template = write_plain_template(isolated / "plain")
    code = "{{ cycler.__init__.__globals__.os.system('touch ran') or 'x' }}"
    write(template / "one" / "post_gen_project.py", "")
    write(template / "two" / "post_gen_project.py", "open('/dev/null')\n")
    shutil.rmtree(template / "hooks")
    (template / "hooks").symlink_to("one")
    words = ["new", "./plain", "-y", "--no-git", "--set"]
    assert aistart(*words, "name=1", "--trust-always").exit_code == 0
    assert aistart(*words, "name=2").exit_code == 0
    (template / "hooks").unlink()
    (template / "hooks").symlink_to("two")
    assert "use --trust" in aistart(*words, "name=3").output
    assert aistart(*words, "name=3", "--trust-always").exit_code == 0
    (template / "{{ cookiecutter.slug }}" / code).mkdir()
    assert "use --trust" in aistart(*words, "name=4").output
    assert not (isolated / "ran").exists()


@pytest.mark.parametrize("way", ["layer", "link", "directory"])
def test_what_git_keeps_is_no_part_of_a_template(aistart: Call, isolated: Path, way: str) -> None:
    """It changes with any command of git's, and with it what was trusted."""
    features = {"docs": {"layer": "./.git/docs", "summary": "", "default": True}}
    template = write_team_template(
        isolated / "team", **({"_features": features} if way == "layer" else {})
    )
    write_team_template(template / ".git" / "docs")
    words = []
    if way == "link":
        (template / "hooks").symlink_to(".git/docs")
    elif way == "directory":
        words = ["--directory", ".git/docs"]
    result = aistart("new", "./team", "demo", "-y", "--trust-always", *words)
    assert result.exit_code == 2
    assert {
        "layer": "the layer './.git/docs' lies outside of the template.",
        "link": "the link 'hooks' leads out of the template.",
        "directory": "--directory: '.git/docs' lies outside of the template's source.",
    }[way] in result.output
    assert not (isolated / "demo").exists()


def test_trust_is_asked_for_on_a_terminal(isolated: Path) -> None:
    write_team_template(isolated / "team", _features={})
    settings = ["--set", "project_slug=demo", "--set", "store=none", "--set", "bucket=b"]
    shown = run_on_terminal(["\r"], "new", "./team", "demo", *settings)
    assert "Run the code of ./team?" in shown
    assert "use --trust" in shown
    assert not (isolated / "demo").exists()
    run_on_terminal([f"{DOWN}\r"], "new", "./team", "demo", *settings)
    assert (isolated / "demo").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkout=--upload-pack=touch ran"], "is not a branch, tag or commit"),
        (["--checkout=-x"], "is not a branch, tag or commit"),
        (["--directory=../elsewhere"], "lies outside of the template's source"),
        (["--directory=/etc"], "lies outside of the template's source"),
        (["--directory=missing"], "is not a folder of"),
    ],
)
def test_refused_even_with_trust(
    aistart: Call, isolated: Path, words: list[str], message: str
) -> None:
    source = init_repository(write_team_template(isolated / "source"))
    (isolated / "elsewhere").mkdir()
    result = aistart("new", source.as_uri(), "demo", "-y", "--trust", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert sorted(path.name for path in isolated.iterdir()) == ["elsewhere", "source"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("ext::sh -c touch% ran", "git's remote helpers are not allowed"),
        ("ext::sh://x", "git's remote helpers are not allowed"),
        ("rsync://host/x", "'rsync' is not one of the allowed schemes"),
        ("gh:owner", "is not of the form gh:owner/repository"),
        ("gh:--upload-pack=x/y z", "is not of the form gh:owner/repository"),
        ("./missing", "'./missing' is not a folder"),
    ],
)
def test_addresses_that_are_refused(aistart: Call, isolated: Path, word: str, message: str) -> None:
    result = aistart("new", word, "demo", "-y", "--trust")
    assert result.exit_code == 2
    assert message in result.output
    assert list(isolated.iterdir()) == []


def test_repository_that_is_not_there(aistart: Call, isolated: Path) -> None:
    result = aistart("new", (isolated / "missing").as_uri(), "demo", "-y", "--trust")
    assert result.exit_code == 1
    assert result.output.startswith("Error: git: fatal: ")
    assert list(isolated.iterdir()) == []


def test_link_that_leads_out(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    write(isolated / "secret.txt", "secret\n")
    (isolated / "team" / PROJECT / "stolen.txt").symlink_to(isolated / "secret.txt")
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 2
    assert "stolen.txt' leads out of the template" in result.output
    assert not (isolated / "demo").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"store": []}, "store has no choices."),
        ({"__prompts__": "x"}, "__prompts__ must be an object."),
        ({"__prompts__": {"store": 1}}, "__prompts__.store must be a text or an object."),
        ({"_copy_without_render": 5}, "_copy_without_render must be a list."),
        ({"_layers_by_choice": [1]}, "_layers_by_choice must be an object."),
        ({"_layers_by_choice": {"store": ["a"]}}, "_layers_by_choice.store must be an object."),
        ({"_only_if": {"store": {"x": "y"}}}, "_only_if.store.x must be a list."),
        ({"_extensions": [1]}, "_extensions[0] must be a text."),
        ({"_features": {"a": {"layer": "./a", "summary": "", "default": 1}}}, "must be true or f"),
        ({"_layers": ["../../secret"]}, "the layer '../../secret' lies outside"),
        ({"_layers": ["/etc"]}, "the layer '/etc' lies outside"),
        ({"_layers": ["bass"]}, "there is no layer 'bass'"),
        ({"_layers": [1]}, "cookiecutter.json: _layers[0] must be a text."),
        ({"_template": {"title": 1}}, "cookiecutter.json: _template.title must be a text."),
        ({"_features": {"a": {}}}, "cookiecutter.json: _features.a.layer must be a text."),
        ({"_features": {"a": {"layer": "../x", "summary": "", "default": True}}}, "lies outside"),
        ({"project_slug": "../x"}, "project_slug: '../x' must begin with"),
    ],
)
def test_manifest_that_leads_out(aistart: Call, isolated: Path, change: dict, message: str) -> None:
    write_team_template(isolated / "team", **change)
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 2
    assert message in result.output
    assert [path.name for path in isolated.iterdir()] == ["team"]


def test_file_name_that_leads_out(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", bucket="../../../out")
    write(isolated / "team" / PROJECT / "{{ cookiecutter.bucket }}.txt", "out\n")
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 2
    assert "would lie outside of the project" in result.output
    assert [path.name for path in isolated.iterdir()] == ["team"]


@pytest.mark.parametrize("kind", ["--set", "file", "--dry-run"])
@pytest.mark.parametrize("made_by", [write_team_template, write_plain_template])
def test_answer_that_is_a_place_elsewhere(
    aistart: Call, isolated: Path, made_by: Callable[[Path], Path], kind: str
) -> None:
    template = made_by(isolated / "template")
    tree, key = (
        (PROJECT, "bucket")
        if made_by is write_team_template
        else ("{{ cookiecutter.slug }}", "page")
    )
    write(template / tree / "{{ cookiecutter.KEY }}".replace("KEY", key), "stolen\n")
    victim = isolated.parent / "victim"
    victim.write_text("precious\n")
    words = ["--set", f"{key}={victim}"]
    if kind == "file":
        write(isolated / "a.toml", f"{key} = '{victim}'\n")
        words = ["--answers", "a.toml"]
    elif kind == "--dry-run":
        words += [kind]
    before = sorted(isolated.rglob("*"))
    result = aistart("new", "./template", "demo", "-y", "--trust", *words)
    assert result.exit_code == 2
    assert "would lie outside of the project" in result.output
    assert victim.read_text() == "precious\n"
    assert sorted(isolated.rglob("*")) == before


def test_name_that_changes_after_it_was_checked(aistart: Call, isolated: Path) -> None:
    template = write_plain_template(isolated / "template")
    manifest = json.loads((template / "cookiecutter.json").read_text())
    extension = (
        "from itertools import count\nfrom jinja2.ext import Extension\n\n\n"
        "class Turns(Extension):\n"
        "    numbers = count()\n\n"
        "    def __init__(self, environment):\n"
        "        super().__init__(environment)\n"
        "        environment.filters['turn'] = lambda x: x if next(self.numbers) else 'inside'\n"
    )
    write(template / "local_turns.py", extension)
    manifest["_extensions"] += ["local_turns.Turns"]
    write(template / "cookiecutter.json", json.dumps(manifest))
    tree = template / "{{ cookiecutter.slug }}"
    write(tree / "{{ cookiecutter.page | turn }}.txt", "text\n")
    words = ["new", "./template", "demo", "-y", "--trust", "--set"]
    result = aistart(*words, f"page={isolated}/x")
    assert result.exit_code == 2
    assert result.output.endswith("of its 2 files only 1 are in the project's folder.\n")
    assert not (isolated / "demo").exists()


def test_hook_that_fails_is_one_line(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "plain")
    write(isolated / "plain" / "hooks" / "post_gen_project.py", "raise SystemExit(3)\n")
    result = aistart("new", "./plain", "-y", "--trust", "--set", "name=x")
    assert result.exit_code == 1
    assert result.output.endswith("Error: template: one of its hooks failed (exit status: 3)\n")
    assert [path.name for path in isolated.iterdir()] == ["plain"]
    program = Path(sys.executable).with_name("aistart")
    words = ["new", "./plain", "-y", "--trust", "--set", "name=x"]
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.stderr.splitlines()[-1:] == result.output.splitlines()[-1:]
    assert "Traceback" not in done.stderr


def test_hooks_leave_nothing_and_do_not_run_for_a_look(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain_template(isolated / "plain")
    ran = isolated / "ran.txt"
    hook = f"from pathlib import Path\n\nPath({str(ran)!r}).write_text('')\n"
    write(isolated / "plain" / "hooks" / "post_gen_project.py", hook)
    temporary = isolated / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert aistart("new", "./plain", "made", "-y", "--trust", "--dry-run").exit_code == 0
    assert aistart("show", "./plain", "--trust").exit_code == 0
    assert not ran.exists()
    assert aistart("new", "./plain", "made", "-y", "--trust").exit_code == 0
    assert ran.exists()
    assert list(temporary.iterdir()) == []


def test_names_cannot_hide_what_would_run(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "plain")
    write(isolated / "plain" / "hooks" / "z\x1b[1A\x1b[2K", "")
    result = aistart("new", "./plain", "-y")
    assert result.exit_code == 2
    assert "\n  hook       hooks/z\\x1b[1A\\x1b[2K\n" in result.output
    assert "\x1b" not in result.output


def test_trust_in_one_folder_of_a_repository_is_not_trust_in_another(
    aistart: Call, isolated: Path
) -> None:
    write_team_template(isolated / "source" / "one")
    write_team_template(isolated / "source" / "two")
    address = init_repository(isolated / "source").as_uri()
    words = ["new", address, "-y", "--directory"]
    assert aistart(*words, "one", "--trust-always").exit_code == 0
    assert aistart(*words, "one", "--set", "project_name=again").exit_code == 0
    assert aistart(*words, "two", "--set", "project_name=other").exit_code == 2
    assert not (isolated / "other").exists()


def test_what_cookiecutter_tells_templates(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "plain")
    text = "{{ cookiecutter._template }} {{ cookiecutter._checkout }}\n"
    write(isolated / "plain" / "{{ cookiecutter.slug }}" / "from.txt", text)
    assert aistart("new", "./plain", "made", "-y", "--trust").exit_code == 0
    assert (isolated / "made/from.txt").read_text() == "./plain None\n"
    url = init_repository(isolated / "plain").as_uri()
    words = ["new", url, "other", "-y", "--trust", "--checkout", "v1"]
    assert aistart(*words).exit_code == 0
    assert (isolated / "other/from.txt").read_text() == f"{url} v1\n"


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "{{ 1/0 }}"},
        {"bucket": "{{ cookiecutter.buket }}"},
        {"bucket": "{{ x"},
        {"_extensions": ["no.such"]},
    ],
)
def test_expression_that_does_not_render_is_one_line(
    aistart: Call, isolated: Path, change: dict
) -> None:
    write_team_template(isolated / "team", **change)
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: template: it does not render: ")
    assert [path.name for path in isolated.iterdir()] == ["team"]


def test_file_that_does_not_render_is_one_line(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    for text, message in (
        ("{% if %}", "Expected an expression, got 'end of statement block'"),
        ("{{ cookiecutter.buket }}", "'dict object' has no attribute 'buket'\n"),
    ):
        write(isolated / "team" / PROJECT / "broken.txt", f"{text}\n")
        result = aistart("new", "./team", "demo", "-y", "--trust")
        assert result.exit_code == 1
        said = result.output[result.output.index("Error: ") :]
        assert said.startswith(f"Error: template: it does not render: {message}")
        assert said.count("\n") == 1
        assert [path.name for path in isolated.iterdir()] == ["team"]


def test_question_without_default_and_without_terminal(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", owner=None)
    result = aistart("new", "./team", "demo", "--trust")
    assert result.exit_code == 2
    assert result.output.endswith("Error: owner: it has no default; use --set owner=VALUE.\n")
    assert aistart("new", "./team", "demo", "--trust", "--set", "owner=Ada").exit_code == 0


def test_questions_that_do_not_matter_are_not_asked(isolated: Path) -> None:
    write_team_template(isolated / "team", _features={})
    words = ["new", "./team", "demo", "--trust", "--set", "project_slug=demo"]
    shown = run_on_terminal(["\r"], *words)
    assert "bucket:" not in shown
    assert (isolated / "demo/store.txt").read_text() == "none team-bucket\n"
    words = ["new", "./team", "two", "--trust", "--set", "project_slug=two"]
    shown = run_on_terminal([f"{DOWN}\r", f"{CTRL_U}mine\r"], *words)
    assert "bucket:" in shown
    assert (isolated / "two/store.txt").read_text() == "bucket mine\n"


def test_features(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")

    def make(name: str, *words: str) -> set[str]:
        result = aistart("new", "./team", name, "-y", "--trust", "--no-git", *words)
        assert result.exit_code == 0, result.output
        return {path.name for path in (isolated / name).iterdir()} & {"docs.md", "chart.md"}

    assert make("a") == {"docs.md"}
    assert make("b", "--with", "chart") == {"docs.md", "chart.md"}
    assert make("c", "--without", "docs") == set()
    assert make("d", "--minimal") == set()
    assert make("e", "--minimal", "--with", "chart") == {"chart.md"}
    assert not (isolated / "a/.git").exists()
    for words, message in (
        (["--with", "dogs"], "feature: 'dogs' is unknown. Did you mean 'docs'? Allowed: docs, cha"),
        (["--with", "docs", "--without", "docs"], "is given with --with and with --without"),
    ):
        result = aistart("new", "./team", "f", "-y", "--trust", *words)
        assert result.exit_code == 2
        assert message in result.output


def test_features_that_require_others_and_add_to_them(aistart: Call, isolated: Path) -> None:
    team = write_team_template(isolated / "team")
    chart = team / "features/chart"
    write(chart / "cookiecutter.json", json.dumps({"_requires": ["docs"]}))
    for name, place in (("docs", chart), ("store", chart / "features/docs")):
        write(place / "features" / name / "cookiecutter.json", "{}")
        write(place / "features" / name / PROJECT / f"with_{name}.md", "")
    manifest = json.loads((team / "cookiecutter.json").read_text())
    layer = {"layer": "./features/store", "summary": "a store", "default": False}
    manifest["_features"]["store"] = layer
    write(team / "cookiecutter.json", json.dumps(manifest))
    write(team / "features/store/cookiecutter.json", "{}")
    write(team / "features/store" / PROJECT / "shelf.md", "")

    def make(name: str, *words: str) -> str:
        result = aistart("new", "./team", name, "-y", "--trust", "--no-git", *words)
        if result.exit_code:
            return result.output.splitlines()[-1]
        return " ".join(sorted(path.name for path in (isolated / name).glob("*.md")))

    assert make("a", "--minimal", "--with", "chart") == "README.md chart.md docs.md with_docs.md"
    assert make("b", "--minimal", "--with", "docs", "--with", "store") == (
        "README.md docs.md shelf.md"
    )
    words = ("--trust", "--minimal", "--with", "chart", "--with", "store", "--dry-run")
    listed = aistart("new", "./team", "l", "-y", *words).output
    layers = {line.split()[0]: line.split()[-1] for line in listed.splitlines() if ".md " in line}
    assert layers["with_docs.md"] == "features/chart+docs"
    assert layers["with_store.md"] == "features/chart+docs+store"
    three = "README.md chart.md docs.md shelf.md with_docs.md with_store.md"
    assert make("c", "--with", "chart", "--with", "store") == three
    assert make("d", "--with", "chart", "--without", "docs") == (
        "Error: feature: 'chart' requires 'docs', which is given with --without; leave out both or "
        "none."
    )
    assert make("e", "--without", "docs") == "README.md"
    write(chart / "cookiecutter.json", json.dumps({"_requires": ["dock"]}))
    assert make("f") == "Error: template: the feature 'chart' requires 'dock', which is none."


def test_aistart_test_runs_what_comes_out(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", owner=None)
    words = ["test", "./team", "--trust", "--python", sys.executable]
    result = aistart(*words)
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if line.startswith("passed")] == [
        "passed  defaults",
        "passed  store=bucket",
        "passed  without docs",
        "passed  with chart",
    ]
    write(
        isolated / "team" / PROJECT / "tests" / "test_store.py",
        "def test_store():\n    from pathlib import Path\n\n"
        "    assert 'bucket' not in Path('store.txt').read_text().split()\n",
    )
    result = aistart(*words)
    assert result.exit_code == 1
    assert "FAILED  store=bucket" in result.output
    assert "passed  defaults" in result.output
    assert aistart("test", "./team").exit_code == 2, "it runs the template's code"


@pytest.mark.slow
def test_aistart_test_makes_the_environment(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", store=["none"], _only_if={}, _features={})
    write(isolated / "team" / PROJECT / "requirements.lock", "iniconfig==2.3.0\n")
    test = "import importlib.metadata as found\n\n\ndef test_lock():\n"
    test += "    assert found.version('iniconfig') == '2.3.0'\n"
    write(isolated / "team" / PROJECT / "tests" / "test_store.py", test)
    result = aistart("test", "./team", "--trust")
    assert result.exit_code == 0, result.output
    assert "passed  defaults" in result.output
    write(isolated / "team" / PROJECT / "requirements.lock", "iniconfig==99\n")
    result = aistart("test", "./team", "--trust")
    assert result.exit_code == 1
    assert "Error: environment: -m pip install: ERROR: No matching distribution" in result.output


def test_broken_manifest(aistart: Call, isolated: Path) -> None:
    write(isolated / "broken" / "cookiecutter.json", "{")
    result = aistart("new", "./broken", "-y", "--trust")
    assert result.exit_code == 2
    assert "is not readable" in result.output
    (isolated / "empty").mkdir()
    result = aistart("new", "./empty", "-y", "--trust")
    assert result.output == "Error: template: './empty' has no cookiecutter.json.\n"
    write(isolated / "bare" / "cookiecutter.json", json.dumps({"name": "x"}))
    result = aistart("new", "./bare", "-y", "--trust")
    assert result.exit_code == 2
    assert "has no folder" in result.output


@pytest.mark.parametrize("text", ["[]", "5", "[" * 100_000, "\xff"])
def test_manifest_that_is_no_object(aistart: Call, isolated: Path, text: str) -> None:
    write_team_template(isolated / "team")
    (isolated / "team" / "cookiecutter.json").write_bytes(text.encode("latin-1"))
    result = aistart("new", "./team", "-y", "--trust")
    assert result.exit_code == 2
    assert result.output.startswith("Error: template: ")
    assert result.output.count("\n") == 1


def test_template_without_questions(aistart: Call, isolated: Path) -> None:
    write(isolated / "bare" / "cookiecutter.json", '{"_slug": "bare"}')
    (isolated / "bare" / "{{ cookiecutter._slug }}").mkdir()
    result = aistart("show", "./bare", "--trust")
    assert result.exit_code == 0, result.output
    assert "Questions" not in result.output
    assert re.search(
        r"Files of a default project:\n  \.aistart/answers\.toml +\d+ B  aistart\n"
        r"  \.aistart/pristine\.xz +\d+ B  aistart\n\n  2 files, ",
        result.output,
    )
    assert json.loads(aistart("show", "./bare", "--trust", "--json").stdout)["questions"] == []


def test_text_that_is_not_utf_8(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    (isolated / "team" / PROJECT / "old.txt").write_bytes("Größe\n".encode("latin-1"))
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: template: it does not render: 'utf-8'")
    assert [path.name for path in isolated.iterdir()] == ["team"]


def test_link_that_leads_to_itself(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team")
    (isolated / "team" / PROJECT / "loop").symlink_to("loop")
    result = aistart("new", "./team", "demo", "-y", "--trust")
    assert result.exit_code == 2
    assert result.output.endswith("loop' leads out of the template.\n")


def test_python_of_the_tests(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", store=["none"], _only_if={}, _features={})
    (isolated / "python").symlink_to(sys.executable)
    write(isolated / "team" / PROJECT / "tests" / "test_store.py", "def test_it(): ...\n")
    program = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    write(isolated / "bin" / "run-python", program)
    (isolated / "bin" / "run-python").chmod(0o755)
    result = aistart("test", "./team", "--trust", "--python", "bin/run-python")
    assert result.output.endswith("passed  defaults\n"), result.output
    result = aistart("test", "./team", "--trust", "--python", "nosuch")
    assert result.exit_code == 2
    assert result.output.endswith("Error: --python: 'nosuch' is not a program.\n")


def test_names_that_are_not_utf_8(aistart: Call, isolated: Path) -> None:
    team = write_team_template(isolated / "team")
    name = os.fsdecode(b"\xff.txt")
    write(team / PROJECT / name, "x\n")
    assert aistart("new", "./team", "demo", "-y", "--trust").exit_code == 0
    assert (isolated / "demo" / name).read_text() == "x\n"


def test_folders_that_lie_too_deep(aistart: Call, isolated: Path) -> None:
    team = write_team_template(isolated / "team")
    place = team / PROJECT
    for count, code in ((20, 0), (1500, 2)):
        subprocess.run(["mkdir", "-p", place / "/".join(["d"] * count)], check=True)
        result = aistart("new", "./team", str(count), "-y", "--trust")
        assert result.exit_code == code, result.output
    assert result.output == "Error: template: it has folders more than 100 deep.\n"
    subprocess.run(["rm", "-r", str(team)], check=True)


def test_next_are_targets_that_there_are(aistart: Call, isolated: Path) -> None:
    team = write_team_template(isolated / "team")
    for number, (text, steps) in enumerate(
        (
            ("train := x\n\nlint:\n\ttrain:\n", []),
            ("lint train: x\n\ttrue\n", ["make train"]),
            ("setup:\ntrain:\n", ["make setup", "make train"]),
        )
    ):
        write(team / PROJECT / "Makefile", text)
        result = aistart("new", "./team", f"demo{number}", "-y", "--trust")
        said = result.output.partition("\nNext:\n")[2].partition("\n\n")[0]
        assert [line.strip() for line in said.splitlines()] == [f"cd demo{number}", *steps]


def test_markup_of_prompts_is_not_shown(aistart: Call, isolated: Path) -> None:
    prompts = {"project_name": "[bold]Name[/] of it", "bucket": "[/] odd [x]", "project_slug": "a"}
    write_team_template(isolated / "team", __prompts__=prompts)
    found = json.loads(aistart("show", "./team", "--trust", "--json").stdout)["questions"]
    assert [q["prompt"] for q in found] == ["Name of it", "a", "store", "[/] odd [x]"]
