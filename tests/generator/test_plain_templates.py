"""Plain cookiecutter templates: what cookiecutter makes of them, aistart makes too."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.generator.foreign import write, write_plain_template
from tests.generator.terminal import DOWN, run_on_terminal

Call = Callable[..., Result]
Texts = dict[str, bytes]

SLUG = "{{ cookiecutter.slug }}"
CONTEXT = (
    "{{ cookiecutter | jsonify }}\n{{ _cookiecutter | jsonify }}\n{{ cookiecutter }}\n"
    "{{ _cookiecutter }}\n"
    "{{ cookiecutter._template }} {{ cookiecutter._repo_dir }} {{ cookiecutter._output_dir }}\n"
)
COMMITS = """
import subprocess
for words in (
    ["init", "--quiet"],
    ["add", "--all"],
    ["-c", "user.name=T", "-c", "user.email=t@e", "commit", "--quiet", "-m", "Of the hook"],
):
    subprocess.run(["git", *words], check=True)
"""
HERE = "from pathlib import Path\nPath('{}').write_text(str(Path.cwd()))\n"
RENAMES = "from pathlib import Path\nPath.cwd().rename(Path.cwd().with_name('renamed'))\n"
EMPTIES = (
    "import shutil\nfrom pathlib import Path\nhere = Path.cwd()\n"
    "(here / 'a.txt').rename(here.parent / 'a.txt')\nshutil.rmtree(here)\n"
)

_MARKS = {"{{": "variable_start_string", "}}": "variable_end_string"}
# What each template is, beside a file ``context.txt``: its manifest, and files by path.
KINDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "names that are not ours to judge": (
        {
            "project_name": "A/B: ein \t Name" + "!" * 1100,
            "project_slug": "Über uns",
            "package_name": "class",
            "tracking_uri": "none",
            "slug": "{{ cookiecutter.project_slug }} (neu)",
        },
        {f"{SLUG}/a.txt": "{{ cookiecutter.package_name }} {{ cookiecutter.project_name }}\n"},
    ),
    "keys that mean something to us alone": (
        {
            "slug": "demo",
            "_template": "gh:somebody/else",
            "_features": ["a"],
            "_layers": "x",
            "_layers_by_choice": {"slug": "x"},
            "_only_if": ["slug"],
            "_answers": 1,
            "__prompts__": {"slug": None, "other": 1},
        },
        {f"{SLUG}/src/x/model.py": "MODELS: dict = { {{- cookiecutter._answers -}} }\n"},
    ),
    "values that are no texts": (
        {
            "slug": "demo",
            "owner": None,
            "sure": [False, True],
            "number": [3, 4],
            "port": 80,
            "docs": True,
            "later": "{{ cookiecutter.owner }} {{ cookiecutter.sure is sameas false }}",
            "table": {"a": ["{{ cookiecutter.port }}"]},
        },
        {f"{SLUG}/a.txt": "{% if cookiecutter.sure or cookiecutter.owner %}yes{% endif %}\n"},
    ),
    "its own delimiters": (
        {
            "_year": 1999,
            "slug": "demo-[[ cookiecutter._year ]]",
            "choice": ["[[ cookiecutter.slug ]]", "{{ not }}"],
            "_jinja2_env_vars": {"variable_start_string": "[[", "variable_end_string": "]]"},
        },
        {f"{SLUG}/{{{{ cookiecutter.choice }}}}.txt": "{{ cookiecutter.slug }} { {\n"},
    ),
    "names that are not rendered": (
        {"slug": "demo", "_copy_without_render": ["kept", "*.j2"]},
        {
            f"{SLUG}/kept/{{{{ no.such }}}}/{{% x.txt": "{{ no.such }}\n",
            f"{SLUG}/{{{{ cookiecutter.slug }}}}.j2": "{{ no.such }}\n",
            f"{SLUG}/{{% if false %}}left_out{{% endif %}}": "\n",
        },
    ),
    "hooks that write paths": (
        {"slug": "demo"},
        {
            "hooks/pre_gen_project.py": HERE.format("before.txt"),
            "hooks/post_gen_project.py": HERE.format("{{ cookiecutter.slug }}.txt"),
        },
    ),
    "a hook that commits": ({"slug": "demo"}, {"hooks/post_gen_project.py": COMMITS}),
    "a hook that renames": ({"slug": "demo"}, {"hooks/post_gen_project.py": RENAMES}),
    "a hook that empties": (
        {"slug": "demo"},
        {f"{SLUG}/a.txt": "a\n", "hooks/post_gen_project.py": EMPTIES},
    ),
}


def write_template(folder: Path, manifest: dict[str, Any], files: dict[str, str]) -> Path:
    """Write a template with these files, and one that prints its whole context."""
    write(folder / "cookiecutter.json", json.dumps(manifest))
    for name, text in {f"{SLUG}/context.txt": CONTEXT, **files}.items():
        for mark in ("{{", "}}") if "_jinja2_env_vars" in manifest else ():
            own = manifest["_jinja2_env_vars"]
            name = name.replace(mark, own[_MARKS[mark]])
            text = text.replace(mark, own[_MARKS[mark]])
        write(folder / name, text)
    return folder


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """Read all files and folders below a folder, except ``.git`` and aistart's record."""
    paths = (
        path
        for path in sorted(folder.rglob("*"))
        if ".git" not in path.parts[:-1] and ".aistart" not in path.parts
    )
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_as_cookiecutter_makes_it(aistart: Call, isolated: Path, kind: str) -> None:
    from cookiecutter.main import cookiecutter

    write_template(isolated / "template", *KINDS[kind])
    out = isolated / "out"
    out.mkdir()
    cookiecutter("./template", no_input=True, output_dir="out")
    theirs = read_tree(out)
    shutil.rmtree(out)
    out.mkdir()
    words = ["new", "./template", "-y", "--trust", "-o", "template/../out"]
    result = aistart(*words, *([] if kind == "a hook that commits" else ["--no-git"]))
    assert result.exit_code == 0, result.output
    assert read_tree(out) == theirs
    assert theirs
    assert aistart("show", "./template", "--trust").exit_code == 0
    assert aistart("show", "./template", "--trust", "--json").exit_code == 0


WORDS = ["new", "./template", "-y", "--trust"]


def test_answers_are_told_as_cookiecutter_tells_them(aistart: Call, isolated: Path) -> None:
    from cookiecutter.main import cookiecutter

    manifest = {
        "name": "usual",
        "slug": "{{ cookiecutter.name }}-1",
        "docs": True,
        "owner": None,
        "kind": ["{{ cookiecutter.name }}-a", "b"],
    }
    write_template(isolated / "template", manifest, {})
    given = {"name": "Other", "docs": "no", "owner": "Ada", "kind": "b"}
    theirs = read_tree(Path(cookiecutter("./template", no_input=True, extra_context=given)))
    shutil.rmtree("Other-1")
    settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    result = aistart(*WORDS, *settings, "--no-git")
    assert result.exit_code == 0, result.output
    assert read_tree(isolated / "Other-1") == theirs


def test_default_of_a_question_that_is_answered_is_not_rendered(
    aistart: Call, isolated: Path
) -> None:
    write_template(isolated / "template", {"token": "{{ 1 / 0 }}", "slug": "demo"}, {})
    assert "division by zero" in aistart(*WORDS).output
    result = aistart(*WORDS, "--set", "token=t")
    assert result.exit_code == 0, result.output
    assert result.output.endswith(" new ./template demo -y --set token=t --trust\n")


def test_answer_is_no_template(aistart: Call, isolated: Path) -> None:
    manifest = {"name": "x", "slug": "demo", "twin": "{{ cookiecutter.name }}"}
    files = {f"{SLUG}/{{{{ cookiecutter.twin }}}}/a.txt": "{{ cookiecutter.twin }}"}
    write_template(isolated / "template", manifest, files)
    assert aistart(*WORDS, "--set", "name={{ 7 * 7 }}").exit_code == 0
    assert (isolated / "demo/{{ 7 * 7 }}/a.txt").read_text() == "{{ 7 * 7 }}"
    result = aistart(*WORDS, "--set", "slug={{ 7 * 7 }}")
    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: project folder: '{{ 7 * 7 }}' must not hold '{{': it would be rendered.\n"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/elsewhere", "a\\b", "a\0b"])
@pytest.mark.parametrize("look", [[], ["--dry-run"]])
def test_folder_that_leads_elsewhere(
    aistart: Call, isolated: Path, name: str, look: list[str]
) -> None:
    write_template(isolated / "template", {"a": name, "slug": "{{ cookiecutter.a }}"}, {})
    tree = isolated / "template" / SLUG
    tree.rename(tree.with_name("{{ cookiecutter.a }}{{ '' }}"))
    result = aistart(*WORDS, *look)
    assert result.exit_code == 2
    assert result.output.endswith(f"folder: {name!r} is not the name of one folder.\n")
    assert [path.name for path in isolated.iterdir()] == ["template"]


def test_hook_that_commits_has_the_last_word(aistart: Call, isolated: Path) -> None:
    write_template(isolated / "template", *KINDS["a hook that commits"])
    result = aistart(*WORDS)
    assert result.exit_code == 0, result.output
    log = ["git", "-C", "demo", "log", "--format=%s"]
    said = subprocess.run(log, capture_output=True, text=True, check=True).stdout
    assert said == "Of the hook\n"
    status = ["git", "-C", "demo", "status", "--porcelain"]
    changed = subprocess.run(status, capture_output=True, text=True).stdout
    assert changed == "?? .aistart/\n", "a hook's commit comes before the record"


def test_project_that_a_hook_renames(aistart: Call, isolated: Path) -> None:
    write_template(isolated / "template", *KINDS["a hook that renames"])
    result = aistart(*WORDS)
    assert result.exit_code == 0, result.output
    assert "Made renamed (template).\n\nNext:\n  cd renamed\n" in result.output
    assert (isolated / "renamed/.git/HEAD").is_file()
    assert sorted(path.name for path in isolated.iterdir()) == ["renamed", "template"]


def test_environment_that_a_hook_makes_runs(aistart: Call, isolated: Path) -> None:
    made = "import sys, venv\nvenv.create('.venv', symlinks=True)\n"
    made += "from pathlib import Path\nPath('.gitignore').write_text('.venv/')\n"
    script = "script = Path('.venv/bin/tool')\nscript.write_text(f'#!{Path.cwd()}/.venv/bin/python"
    script += "\\nprint(1)\\n')\nscript.chmod(0o755)\n"
    write_template(
        isolated / "template", {"slug": "demo"}, {"hooks/post_gen_project.py": made + script}
    )
    assert aistart(*WORDS).exit_code == 0
    tool = isolated / "demo/.venv/bin/tool"
    assert subprocess.run([tool], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize("fails", ["hooks/pre_gen_project.py", "hooks/post_gen_project.py", "x"])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_stays_of_what_fails(
    aistart: Call, isolated: Path, fails: str, there: bool
) -> None:
    """Whichever part fails, also where hooks have renamed the folder."""
    files = {name: HERE.format("hooked.txt") for name in sorted(KINDS["hooks that write paths"][1])}
    files |= {
        fails: f"{RENAMES if 'post' in fails else ''}\nraise SystemExit(3)\n",
        f"{SLUG}/{'broken' if fails == 'x' else 'a'}.txt": "{% if %}" if fails == "x" else "",
    }
    write_template(isolated / "template", {"slug": "demo"}, files)
    if there:
        (isolated / "demo").mkdir(mode=0o700)
    result = aistart(*WORDS)
    assert result.exit_code == 1
    assert sorted(path.name for path in isolated.iterdir()) == ["demo"] * there + ["template"]
    if there:
        assert (isolated / "demo").stat().st_mode & 0o777 == 0o700
        assert not any((isolated / "demo").iterdir())


def test_extension_that_ends_the_program(aistart: Call, isolated: Path) -> None:
    manifest = {"slug": "demo", "_extensions": ["ends_here.Extension"]}
    write_template(isolated / "template", manifest, {"ends_here.py": "raise SystemExit(0)\n"})
    for look in ([], ["--dry-run"]):
        result = aistart(*WORDS, *look)
        assert result.exit_code == 1
        said = "Error: template: its code ends the program (exit status: 0)\n"
        assert result.output.endswith(said)
    assert [path.name for path in isolated.iterdir()] == ["template"]


def test_answers_of_a_project_of_a_plain_template(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "template")
    settings = ["--set", "name=One", "--set", "with_docs=no", "--set", "greeting=Hello"]
    assert aistart(*WORDS, *settings).exit_code == 0
    again = ["new", "./template", "two", "-y", "--trust", "--answers", "one"]
    result = aistart(*again)
    assert result.exit_code == 0, result.output
    assert (isolated / "two/said.txt").read_text() == (isolated / "one/said.txt").read_text()
    assert " --set with_docs=no" in result.output
    status = subprocess.run(["git", "-C", "one", "status", "--porcelain"], capture_output=True)
    assert status.stdout == b""
    checked = aistart("doctor", "one").output
    assert "made from template, not of aistart's kind: only this machine is checked" in " ".join(
        checked.split()
    )
    shutil.rmtree("one/.aistart")
    result = aistart(*again)
    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: --answers: the folder 'one' has no recorded answers (.aistart/answers.toml).\n"
    )


def test_hooks_are_named_where_they_do_not_run(aistart: Call, isolated: Path) -> None:
    files = {name: HERE.format("x") for name in sorted(KINDS["hooks that write paths"][1])}
    write_template(isolated / "template", {"slug": "demo"}, files)
    said = (
        "\n  The template's hooks, which did not run, may change this: hooks/post_gen_project.py, "
        "hooks/pre_gen_project.py\n"
    )
    assert said in aistart(*WORDS, "--dry-run").output
    assert said in aistart("show", "./template", "--trust").output
    found = json.loads(aistart("show", "./template", "--trust", "--json").stdout)
    assert found["hooks"] == ["hooks/post_gen_project.py", "hooks/pre_gen_project.py"]
    shutil.rmtree("template/hooks")
    assert "hooks" not in aistart(*WORDS, "--dry-run").output


def write_nested_templates(folder: Path) -> Path:
    """Write a template with two nested templates, of which the first has two of its own."""
    first = {"a": {"path": "./a", "title": "Model A"}, "b": {"path": "b"}}
    write(folder / "cookiecutter.json", json.dumps({"templates": first}))
    write(folder / "a/cookiecutter.json", json.dumps({"template": ["C (./c)", "D (d)"]}))
    for place in ("a/c", "a/d", "b"):
        write_template(
            folder / place, {"slug": f"made-{place[-1]}"}, {"hooks/pre_gen_project.py": ""}
        )
    return folder


def test_first_of_several(aistart: Call, isolated: Path) -> None:
    from cookiecutter.main import cookiecutter

    write_nested_templates(isolated / "template")
    theirs = read_tree(Path(cookiecutter("./template", no_input=True)))
    shutil.rmtree("made-c")
    refused = aistart("new", "./template", "-y")
    for place in ("a/c", "a/d", "b"):
        assert f"\n  hook       {place}/hooks/pre_gen_project.py\n" in refused.output
    result = aistart(*WORDS, "--no-git")
    assert result.exit_code == 0, result.output
    assert read_tree(isolated / "made-c") == theirs
    again = "aistart new ./template made-c -y --directory a/c --no-git --trust\n"
    assert result.output.endswith(again)
    result = aistart("show", "./template", "--trust")
    assert result.exit_code == 2
    assert result.output.endswith("holds several templates; choose one with --directory: a, b.\n")


def test_one_of_several_on_a_terminal(isolated: Path) -> None:
    write_nested_templates(isolated / "template")
    shown = run_on_terminal([f"{DOWN}\r", "\r"], "new", "./template", "--trust")
    assert "Model A" in shown
    assert (isolated / "made-b").is_dir()


@pytest.mark.parametrize("place", [".", "../elsewhere", "/elsewhere", ".git/x"])
def test_one_of_several_that_lies_elsewhere(aistart: Call, isolated: Path, place: str) -> None:
    write(
        isolated / "template/cookiecutter.json", json.dumps({"templates": {"a": {"path": place}}})
    )
    result = aistart(*WORDS)
    assert result.exit_code == 2
    assert result.output.endswith(f"Error: template: {place!r} lies outside of the template.\n")
