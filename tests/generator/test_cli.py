"""The command line around ``new``: list, help, prompts on a terminal."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from aistart.answers import select_features
from aistart.catalog import find_template, find_templates
from tests.environments import REPOSITORY
from tests.generator.foreign import PROJECT, write, write_team_template
from tests.generator.terminal import (
    CTRL_C,
    CTRL_U,
    DOWN,
    SHIFT_TAB,
    UP,
    capture_screen,
    run_on_terminal,
)

Call = Callable[..., Result]
FEATURES = ["\r"]  # the last question


def test_list(aistart: Call) -> None:
    result = aistart("list")
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if not line.startswith(" ")]
    assert [line.split(maxsplit=2) for line in lines] == [
        [template.name, template.domain, template.title] for template in find_templates().values()
    ]
    assert "Images into classes" in " ".join(result.output.split())


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_terminals_of_any_width(
    aistart: Call, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in find_templates():
        shown = aistart("show", name).output.partition("Files of a default project")[0]
        for line in shown.splitlines() + aistart("list").output.splitlines():
            assert len(line) <= columns
    described = aistart("list").output
    assert "Image classifier" in described
    assert "own folders of images." in " ".join(described.split())
    files = aistart("new", "recommender", "demo", "-y", "--dry-run").output.splitlines()[1:]
    sizes = {line.index(" B ") for line in files if " B " in line}
    assert (len(sizes) == 1) == (columns > 80), "in a column where there is room"


def test_list_as_json(aistart: Call) -> None:
    listed = json.loads(aistart("list", "--json").output)
    for template in listed:
        assert set(template) == {"name", "title", "summary", "domain"}
    assert [template["name"] for template in listed] == list(find_templates())
    domains = {template["name"]: template["domain"] for template in listed}
    assert domains["vision-classifier"] == "vision"


def test_help_and_version(aistart: Call) -> None:
    assert "vision-classifier" in aistart("new", "-h").output
    version = aistart("--version").output
    assert re.fullmatch(
        r"aistart ([\d.]+)\ntemplates \1 \(\d{4}-\d\d-\d\d\), content [0-9a-f]{12}\n", version
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from aistart.cli import main; main(['--help'], standalone_mode=False); "
        "assert not {'cookiecutter', 'jinja2', 'json', 'questionary'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_prompts_on_a_terminal(isolated: Path) -> None:
    keys = [
        f"{CTRL_U}My App\r",
        "\r",  # folder
        f"{CTRL_U}class\r",  # is refused at once
        f"{CTRL_U}my_app\r",
        SHIFT_TAB,  # back from the description
        "\r",
        "\r",  # description
        "Ada\r",
        "\r",  # organisation
        f"{DOWN}\r",  # the second licence
        "\r",  # Python
        "\r",  # MLflow server
        SHIFT_TAB,  # back from the features, twice
        SHIFT_TAB,
        "\r",
        "\r",
        *FEATURES,
    ]
    shown = run_on_terminal(keys, "new", "vision-classifier")
    assert "Name of the project: My Image Classifier" in shown
    assert "'class' is a keyword of Python; try 'my_class'." in shown
    assert "Made my-app" in shown
    project = isolated / "my-app"
    assert (project / "src/my_app/train.py").is_file()
    assert (project / "LICENSE").read_text().startswith("MIT License")
    assert "Ada" in (project / "LICENSE").read_text()


def test_going_back_takes_the_answered_line_away(isolated: Path) -> None:
    name = "A name of so many words that it needs two lines on a terminal, or three"
    # Before the first question there is none to go back to.
    keys = [SHIFT_TAB, f"{CTRL_U}{name}\r", f"{CTRL_U}app\r", "\r", "\r"]
    asked = ["Name of the project", "Folder", "Python package", "What it does, in a sentence"]
    for left in (1, 4):
        screen = capture_screen(
            [*keys, *left * [SHIFT_TAB]], "new", "vision-classifier", columns=40
        )
        lines = f" {' '.join(' '.join(screen).split())}".split(" ? ")[1:]
        assert [line.partition(":")[0] for line in lines] == asked[: 5 - left]


def test_what_is_set_is_not_asked(isolated: Path) -> None:
    settings = ["--set", "license=MIT", "--set", "author=A", "--set", "python_version=3.12"]
    shown = run_on_terminal(["\r"] * 5 + FEATURES, "new", "vision-classifier", "demo", *settings)
    assert "Licence" not in shown
    assert 'requires-python = ">=3.12,<3.14"' in (isolated / "demo/pyproject.toml").read_text()


def test_value_of_the_profile_is_marked(isolated: Path) -> None:
    (isolated / "team.toml").write_text('author = "The Team"\nlicense = "MIT"\n')
    words = ["new", "vision-classifier", "demo", "--profile", "team.toml"]
    shown = run_on_terminal(["\r"] * 8 + FEATURES, *words)
    assert "Author (from the profile): The Team" in shown
    assert "Licence (from the profile): MIT" in shown
    assert "From the profile team.toml: author, license." in shown


def test_interrupt_at_a_prompt_leaves_nothing(isolated: Path) -> None:
    shown = run_on_terminal([CTRL_C], "new", "vision-classifier")
    assert "Traceback" not in shown
    assert list(isolated.iterdir()) == []


def test_without_a_terminal_nothing_is_asked(isolated: Path) -> None:
    command = [sys.executable, "-m", "aistart", "new", "vision-classifier", "demo"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (isolated / "demo").is_dir()


def test_quiet_says_nothing(aistart: Call) -> None:
    assert aistart("--quiet", "new", "vision-classifier", "demo", "-y").output == ""
    assert "Error: " in aistart("--quiet", "new", "vision-classifier", "demo", "-y").output
    assert aistart("new", "vision-classifier", "behind", "-y", "-q").output == ""
    assert aistart("new", "vision-classifier", "said", "-y").output.startswith("Made said ")


def test_verbose_shows_where_an_error_comes_from(isolated: Path) -> None:
    for words, has_traceback in (
        (["-v", "new"], True),
        (["new", "-v"], True),
        (["show", "--verbose"], True),
        (["new"], False),
    ):
        command = [sys.executable, "-m", "aistart", *words, "vision"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert ("Traceback" in done.stderr) == has_traceback
        assert done.stderr.splitlines()[-1].startswith("Error: template: 'vision' is unknown.")


def test_show(aistart: Call) -> None:
    shown = aistart("show", "recommender").output
    assert shown.startswith("Recommender (recommender, recommendation)\n")
    assert "license         Proprietary (or MIT, BSD-3-Clause)" in shown
    assert "sasrec_transitions, sasrec" in shown
    assert "src/my_recommender/networks/transitions.py" in shown
    assert "(with docker, serve, report)" in " ".join(shown.split())
    described = json.loads(aistart("show", "recommender", "--json").output)
    features = {feature["name"]: feature for feature in described["features"]}
    assert features["compose"]["requires"] == ["docker", "serve", "report"]
    assert features["report"]["requires"] == []
    assert next(iter(features)) == "inspect", "those of the template itself come first"
    assert described["models"][0] == "sasrec_transitions"
    assert described["data_sources"][0] == "shop"
    assert {"key": "project_slug", "prompt": "Folder", "default": "my-recommender", "choices": []
            } in described["questions"]  # fmt: skip
    assert {file["layer"] for file in described["files"]} > {"base", "frames", "recommender"}


def test_models_of_another_template(aistart: Call, isolated: Path) -> None:
    """Its registry is run, so names may be put in by any code; it may also be broken."""
    write_team_template(isolated / "ours")
    registry = isolated / "ours" / PROJECT / "src" / "ours" / "registry.py"
    write(registry, "MODELS = {'a': 'model:a'}\nMODELS |= {f'b{n}': print for n in range(2)}\n")
    shown = aistart("show", "./ours", "--trust")
    assert "Models, the default first:\n  a, b0, b1\n" in shown.output
    write(registry, "import nothing_of_that_name\n")
    broken = aistart("show", "./ours", "--trust")
    assert (broken.exit_code, broken.stdout) == (2, "")
    reason = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert broken.stderr.splitlines()[-1] == f"Error: registry.py cannot be read: {reason}"


def test_dry_run_writes_nothing(aistart: Call, isolated: Path) -> None:
    result = aistart("new", "vision-classifier", "demo", "-y", "--dry-run")
    assert result.exit_code == 0
    assert list(isolated.iterdir()) == []
    lines = result.output.splitlines()
    assert lines[0] == "demo"
    listed = {line.split()[0] for line in lines[1 : lines.index("")]}
    aistart("new", "vision-classifier", "demo", "-y", "--no-git")
    made = {
        path.relative_to("demo").as_posix() for path in Path("demo").rglob("*") if path.is_file()
    }
    assert listed == made


def test_the_command_that_is_shown_makes_the_same(isolated: Path) -> None:
    first = [sys.executable, "-m", "aistart", "new", "vision-classifier", "it's mine", "-y"]
    first += ["--set", "author=A & B; $(id)", "--set", "license=MIT", "--set", "project_slug=one"]
    (isolated / "profile.toml").write_text('python_version = "3.12"\n')
    done = subprocess.run([*first, "--profile", "profile.toml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = done.stdout.splitlines()[-1].strip()
    assert again.startswith("aistart new vision-classifier ")
    (isolated / "second").mkdir()
    command = again.replace("aistart", f"{sys.executable} -m aistart", 1)
    subprocess.run(command, shell=True, check=True, cwd="second", capture_output=True)
    diff = ["diff", "-r", "--exclude=.git", "one", "second/one"]
    assert subprocess.run(diff, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(aistart: Call, shell: str) -> None:
    assert "_AISTART_COMPLETE" in aistart("completion", shell).output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("aistart new vis", "vision-classifier"),
        ("aistart show rec", "recommender"),
        ("aistart new recommender --set lic", "license=BSD-3-Clause license=MIT"),
        ("aistart new recommender --set license=M", "MIT"),
        ("aistart new recommender --set license=", "BSD-3-Clause MIT Proprietary"),
        ("aistart new recommender --set=license=M", "MIT"),
        ("aistart new recommender --with k", "kubernetes"),
        ("aistart profile set organ", "organisation"),
        ("aistart profile set license B", "BSD-3-Clause"),
        ("aistart profile set features.ci ", "off on"),
        ("aistart profile unset features.dock", "features.docker"),
    ],
)
def test_words_that_bash_completes(typed: str, offered: str) -> None:
    # What bash does when Tab is typed: = parts words there.
    asked = (
        'source <(aistart completion bash); COMP_LINE="$1"; COMP_POINT=${#1}; '
        'read -ra COMP_WORDS <<< "${1//=/ = }"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
        '_aistart_completion aistart; echo "${COMPREPLY[*]}"'
    )
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", asked, "bash", typed],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": programs},
    )
    assert done.stdout.strip().startswith(offered), done.stderr


def test_folders_are_completed_where_no_template_begins_so(isolated: Path) -> None:
    variables = {"_AISTART_COMPLETE": "zsh_complete", "COMP_WORDS": "aistart new ./te"}
    program = Path(sys.executable).with_name("aistart")
    environment = {**os.environ, **variables, "COMP_CWORD": "2"}
    done = subprocess.run([program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[:2] == ["dir", "./te"]


@pytest.mark.parametrize(
    ("windows", "said"),
    [(False, "cd '/tmp/with space/it'\"'\"'s'"), (True, 'cd "/tmp/with space/it\'s"')],
)
def test_commands_are_quoted_for_the_shell(windows: bool, said: str) -> None:
    from aistart.shell import join_command

    assert join_command("cd", "/tmp/with space/it's", windows=windows) == said


def test_lines_of_a_text_are_quoted_on_one_line() -> None:
    from aistart.shell import join_command

    words = ["two\nlines", "it's \\n\n"]
    command = join_command("printf", "%s|", *words, windows=False)
    assert "\n" not in command
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout == "".join(f"{word}|" for word in words)


def test_session_of_the_readme_is_what_is_said() -> None:
    command = [sys.executable, str(REPOSITORY / "generator" / "record_session.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, "run python generator/record_session.py"


def test_what_is_wrong_already_is_said_before_the_first_question(isolated: Path) -> None:
    for words, message in (
        (["--with", "dockr"], "feature: 'dockr' is unknown."),
        (["-o", "/dev/null"], "output folder: '/dev/null' is not a folder."),
    ):
        shown = run_on_terminal(["\r"], "new", "vision-classifier", *words)
        assert message in shown
        assert "Name of the project" not in shown


def test_a_choice_that_is_taken_back_stays_taken_back(isolated: Path) -> None:
    texts = ("description=d", "author=a", "organisation=o")
    settings = ("project_name=My App", *texts, "python_version=3.12")
    words = [word for setting in settings for word in ("--set", setting)]
    keys = [
        "\r",  # folder
        "\r",  # package
        f"{DOWN}\r",  # MIT
        SHIFT_TAB,  # back from the server
        f"{UP}\r",  # Proprietary
        SHIFT_TAB,
        "\r",  # as it stands
        "\r",
        *FEATURES,
    ]
    shown = run_on_terminal(keys, "new", "vision-classifier", *words)
    assert "Made my-app" in shown
    assert 'license = "Proprietary"' in (isolated / "my-app/.aistart/answers.toml").read_text()


def test_the_same_again_is_the_same(aistart: Call, isolated: Path) -> None:
    aistart("profile", "set", "author", "Bob")
    (isolated / "team.toml").write_text('license = "MIT"\n')
    result = aistart(
        "new", "vision-classifier", "-y", "--profile", "team.toml", "--no-git", "--", "-foo"
    )
    assert result.exit_code == 0, result.output
    again = shlex.split(result.output.splitlines()[-1])
    assert again[-2:] == ["--", "-foo"]
    answers = isolated / "foo" / ".aistart" / "answers.toml"
    before = answers.read_text()
    shutil.rmtree(isolated / "foo")
    assert aistart(*again[1:]).exit_code == 0
    assert answers.read_text() == before
    assert "Bob" not in before


def test_folder_that_is_taken_is_said_where_it_is_asked_for(isolated: Path) -> None:
    (isolated / "demo").mkdir()
    (isolated / "demo" / "mine").touch()
    keys = ["\r", f"{CTRL_U}other\r", *["\r"] * 7, *FEATURES]
    shown = run_on_terminal(keys, "new", "vision-classifier", "demo")
    before, _, after = shown.partition("'demo' exists and is not an empty folder.")
    assert "Python package" not in before
    assert "Python package" in after
    assert (isolated / "other/README.md").is_file()
    settings = ("new", "vision-classifier", "demo", "--set", "project_slug=demo")
    shown = run_on_terminal([], *settings)
    assert "Error: project folder: 'demo' exists and is not an empty folder." in shown
    assert "Python package" not in shown


def test_features_that_were_chosen_are_there_after_going_back(isolated: Path) -> None:
    texts = ("description=d", "author=a", "organisation=o", "license=MIT", "python_version=3.12")
    words = [word for setting in texts for word in ("--set", setting)]
    keys = ["\r", "\r", "\r", f"{DOWN}{DOWN} ", SHIFT_TAB, "\r", "\r"]
    shown = run_on_terminal(keys, "new", "vision-classifier", "demo", *words)
    assert "with inspect, report, tune, distribution, " in " ".join(shown.split())


def test_features_that_come_with_others_are_told(isolated: Path) -> None:
    texts = ("description=d", "author=a", "organisation=o", "license=MIT", "python_version=3.12")
    settings = (*texts, "project_slug=demo", "package_name=demo", "tracking_uri=")
    words = [word for setting in settings for word in ("--set", setting)]
    names = list(find_template("vision-classifier").features)
    down = DOWN * names.index("docker")
    assert names[names.index("docker") + 1] == "compose"
    shown = run_on_terminal([f"{down} {DOWN} \r"], "new", "vision-classifier", "demo", *words)
    text = " ".join(shown.split())
    assert "with one command (with docker, serve, report)" in text
    assert "docker, compose, tour, ci (docker: required by others)" in text
    assert (isolated / "demo/Dockerfile").is_file()


def test_messages_at_a_prompt_are_whole_on_a_narrow_terminal(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["\r", f"{CTRL_U}class\r", CTRL_C]
    shown = run_on_terminal(keys, "new", "vision-classifier", "demo", columns=40)
    assert "try 'my_class'." in " ".join(shown.split())


def test_what_was_made_is_said_in_whole_words_on_a_narrow_terminal(
    aistart: Callable, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    (isolated / "team.toml").write_text('author = "The Team"\nlicense = "MIT"\n')
    words = ["demo", "-y", "--no-git", "--profile", "team.toml", "-o", "."]
    lines = aistart("new", "vision-classifier", *words).stdout.partition("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 40
    features = select_features(find_template("vision-classifier"))
    assert " ".join(lines) == (
        f"Made demo (Image classifier, with {', '.join(features)}). "
        "From the profile team.toml: author, license."
    )


def test_words_at_a_prompt_are_whole_on_a_narrow_terminal(isolated: Path) -> None:
    shown = run_on_terminal(["\r", CTRL_C], "new", "vision-classifier", columns=40)
    assert re.search(r"project: My Image\s+Classifier", shown)


def test_typing_and_pasting_replace_the_default(isolated: Path) -> None:
    settings = ("organisation=o", "license=MIT", "python_version=3.12", "tracking_uri=")
    words = [word for setting in settings for word in ("--set", setting)]
    keys = [
        "\x1b[200~My App\n\x1b[201~",  # a pasted line
        "\r",
        "\x1b[D\x1b[Fx\r",  # an arrow begins to edit what stands there
        "\r",  # package
        "\x7f\r",  # nothing is an answer, too
        "Ada\r",
        *FEATURES,
    ]
    shown = run_on_terminal(keys, "new", "vision-classifier", *words)
    assert "Made my-appx" in shown
    recorded = tomllib.loads((isolated / "my-appx/.aistart/answers.toml").read_text())["answers"]
    assert recorded["project_name"] == "My App"
    assert (recorded["description"], recorded["author"]) == ("", "Ada")


def test_templates_are_offered_where_none_is_named(aistart: Call, isolated: Path) -> None:
    shown = run_on_terminal([f"{DOWN}\r", CTRL_C], "new")
    templates = list(find_templates().values())
    for template in templates:
        assert template.title in shown
    assert f"Name of the project: {templates[1].declarations['project_name']}" in shown
    result = aistart("new", "-y")
    assert result.exit_code == 2
    assert result.output.startswith("Error: TEMPLATE: it is missing; ")
