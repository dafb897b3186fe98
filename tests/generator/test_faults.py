"""What goes wrong around ``aistart new``, on every template: one line, and the disk as it was."""

import keyword
import os
import random
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import Result

from aistart import naming
from aistart.answers import resolve
from aistart.catalog import find_template, find_templates
from aistart.errors import UsageProblem
from aistart.staging import remove_stale_stages, staging_folder
from tests.generator.foreign import write, write_plain_template
from tests.generator.small_disks import mount_small_disk
from tests.generator.test_new import assert_refused, list_files

Call = Callable[..., Result]
AISTART = [sys.executable, "-m", "aistart"]
TEMPLATES = list(find_templates())
MOMENTS = 20


def start_program(command: list[str]) -> subprocess.Popen[str]:
    """Start a program that receives signals, even if this one ignores them, as under nohup."""

    def reset_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=reset_signals,
    )


every_template = pytest.mark.parametrize("template", TEMPLATES)


@every_template
@pytest.mark.parametrize(
    ("words", "message"),
    [
        # 1: names that lead elsewhere
        (["../x"], "project_name: '../x' must be one line without"),
        (["/tmp/x"], "project_name: '/tmp/x' must be one line"),
        (["a/../../x"], "project_name: 'a/../../x' must be one line"),
        (["demo", "--set", "project_slug=../x"], "project_slug: '../x' must begin with"),
        (["demo", "--set", "project_slug=/tmp/x"], "project_slug: '/tmp/x' must begin with"),
        (["demo", "--set", "package_name=a/b"], "package_name: 'a/b' must begin with"),
        (["demo", "--set", "package_name=a.b"], "try 'a_b'"),
        # 4: names that hide others
        (["keras"], "that the project itself uses; try 'my_keras'"),
        (["class"], "is a keyword of Python; try 'my_class'"),
        (["json"], "Python's standard library; try 'my_json'"),
        (["h5py"], "that the project itself uses; try 'my_h5py'"),
        (["tests"], "that the project itself uses; try 'my_tests'"),
        # 5: names that no folder has
        (["CON"], "project_slug: 'con' is the name of a device"),
        (["aux"], "project_slug: 'aux' is the name of a device"),
        (["NUL"], "is the name of a device on Windows"),
        (["demo", "--set", "project_slug=a."], "project_slug: 'a.' must not end with a dot"),
        (["demo", "--set", "project_slug=a "], "project_slug: 'a ' must begin with a letter"),
        (["demo", "--set", "project_slug=-rf"], "project_slug: '-rf' must begin with a letter"),
        (["demo", "--set", "project_slug="], "project_slug: '' must begin with"),
        ([""], "project_name: '' must not be empty"),
        (["."], "project_slug: '' must begin with"),
        (["n" * 300], "project_name: 'nnn"),
        (["app_"], "not end with '_'; try 'app'"),
        (["3d"], "must begin with a lower-case letter"),
        (["demo", "--set", "author=a\udcff"], "control characters or bytes"),
        (["demo", "--set", "author=a\x1b[2J"], "control characters or bytes"),
        (["demo", "--set", "author=a\x85b"], "control characters or bytes"),
        (["demo", "--set", "tracking_uri=mlflow:5000"], "must be an address such as http://"),
        (["demo", "--set", "tracking_uri=http://a:b@c"], "must not hold a user or password"),
        # 11: words that do not exist
        (["demo", "--set", "licence=MIT"], "Did you mean 'license'?"),
        (["demo", "--set", "license=MTI"], "is not one of: Proprietary, MIT, BSD-3-Clause; did"),
        (["demo", "--set", "license"], "is not of the form KEY=VALUE"),
        (["demo", "--with", "dokcer"], "feature: 'dokcer' is unknown."),
        # 6: where a project cannot be
        (["demo", "-o", "/dev/null/x"], "output folder: '/dev/null' is not a folder."),
    ],
)
def test_refused(
    aistart: Call, isolated: Path, template: str, words: list[str], message: str
) -> None:
    assert_refused(aistart("new", template, *words, "-y"), message, isolated)


def test_unknown_template(aistart: Call, isolated: Path) -> None:
    result = aistart("new", "vision-clasifier", "demo")
    assert_refused(result, "Did you mean 'vision-classifier'?", isolated)


@every_template
def test_every_taken_name_is_refused_with_a_suggestion(template: str) -> None:
    chosen = find_template(template)
    words = {*keyword.kwlist, *keyword.softkwlist, *sys.stdlib_module_names}
    words |= {name.replace("-", "_") for name in chosen.distributions}
    words |= {"tensorflow", "keras", "mlflow", "numpy", "sklearn", "yaml", "tests", "src"}
    for word in sorted(words):
        with pytest.raises(UsageProblem, match="package_name: ") as refused:
            resolve(chosen, {"package_name": word})
        suggestion = str(refused.value).rpartition("try '")[2].split("'")[0]
        assert naming.package_problem(suggestion, chosen.distributions) is None


@every_template
@pytest.mark.parametrize(
    "text",
    [
        "{{ 7*7 }}",
        "{% raw %}",
        "{# gone #}",
        "{{ cookiecutter._answers }}",
        "{{ cycler.__init__.__globals__.os.popen('touch ran') }}",
        'it\'s "quoted" \\ and \\n',
        "a: b # c",
        "- [x] = {y} & *z !t |",
        "$(touch ran) `touch ran` ${HOME}",
        "'''\"\"\"",
        "emoji 🎉 and 中文",
        "two\nlines",
    ],
)
def test_text_answers_are_data(aistart: Call, isolated: Path, template: str, text: str) -> None:
    names = ["--set", "project_slug=demo", "--set", "package_name=demo"]
    texts = [word for key in ("description", "author") for word in ("--set", f"{key}={text}")]
    result = aistart("new", template, "-y", "--no-git", *names, *texts)
    assert result.exit_code == 0, result.output
    project = isolated / "demo"
    recorded = tomllib.loads((project / ".aistart/answers.toml").read_text())
    assert recorded["answers"]["description"] == recorded["answers"]["author"] == text
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert declared["description"] == declared["authors"][0]["name"] == " ".join(text.split())
    for path in project.rglob("*.py"):
        compile(path.read_text(), path, "exec")
    assert [path.name for path in isolated.iterdir()] == ["demo"]

    named = aistart("new", template, "-y", "--no-git", *names, "--set", f"project_name={text}")
    assert named.exit_code == 2  # the folder is taken, or the name is not allowed
    if "project folder: 'demo' exists" not in named.output:
        assert "project_name: " in named.output
        return
    (project / "README.md").unlink()
    project.rename(isolated / "before")
    aistart("new", template, "-y", "--no-git", *names, "--set", f"project_name={text}")
    assert (project / "README.md").read_text().splitlines()[0] == f"# {text}"


@every_template
@pytest.mark.parametrize("kind", ["full folder", "file", "link", "broken link"])
def test_target_that_exists_is_left_alone(
    aistart: Call, isolated: Path, template: str, kind: str
) -> None:
    target = isolated / "demo"
    if kind == "full folder":
        target.mkdir()
        (target / "mine").touch()
    elif kind == "file":
        target.touch()
    else:
        if kind == "link":
            (isolated / "elsewhere").mkdir()
        target.symlink_to("elsewhere")
    before = list_files(isolated)
    for look in ([], ["--dry-run"]):
        result = aistart("new", template, "demo", "-y", *look)
        assert result.exit_code == 2
        assert result.output.startswith("Error: project folder: 'demo' ")
        assert list_files(isolated) == before


@every_template
def test_folder_that_cannot_be_written(aistart: Call, isolated: Path, template: str) -> None:
    # Not even root can make a folder in /proc.
    result = aistart("new", template, "demo", "-y", "-o", "/proc")
    assert_refused(result, "output folder: '/proc': ", isolated, code=1)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    """No project, or a complete one; after Ctrl-C nothing else either."""
    (isolated / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(isolated / "tmp"))
    moments = random.Random(sent.value)
    command = [*AISTART, "new", moments.choice(TEMPLATES), "demo", "-y", "-o", str(isolated)]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole, usual = list_files(isolated / "demo"), time.monotonic() - began
    for number in range(MOMENTS):
        folder = isolated / str(number)
        folder.mkdir()
        process = start_program([*command[:-1], str(folder)])
        time.sleep(moments.uniform(0, usual))
        # A terminal sends Ctrl-C to all of its processes, git included.
        os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
        process.communicate()
        if (folder / "demo").exists():
            assert list_files(folder / "demo") == whole
            assert (folder / "demo/.git/HEAD").is_file()
        if sent != signal.SIGKILL:
            assert {path.name for path in folder.iterdir()} <= {"demo"}
            assert list((isolated / "tmp").iterdir()) == []
        else:  # what is left does not hinder the next run
            again = [*command[:-1], str(folder)]
            if not (folder / "demo").exists() and number % 5 == 0:
                subprocess.run(again, check=True, capture_output=True)
                assert list_files(folder / "demo") == whole


@pytest.fixture
def small_disk(isolated: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    with mount_small_disk(isolated / "disk", kb=300) as place:
        yield place


@every_template
def test_full_disk(aistart: Call, small_disk: Path, template: str) -> None:
    result = aistart("new", template, "demo", "-y", "-o", str(small_disk))
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert result.output.count("\n") == 1
    assert list(small_disk.iterdir()) == []


@every_template
def test_two_at_once(isolated: Path, template: str) -> None:
    command = [*AISTART, "new", template, "demo", "-y"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    assert sum("exists and is not an empty folder" in text for text in said) == 1
    assert [path.name for path in isolated.iterdir()] == ["demo"]


@every_template
def test_without_a_terminal_nothing_is_asked(isolated: Path, template: str) -> None:
    command = [*AISTART, "new", template, "demo"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (isolated / "demo").is_dir()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("waits_for", ["hook", "last hook", "server"])
def test_ended_while_another_program_runs(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, waits_for: str, sent: signal.Signals
) -> None:
    (isolated / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(isolated / "tmp"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        word = f"http://127.0.0.1:{silent.getsockname()[1]}/team.git"
        if "hook" in waits_for:
            word = "./plain"
            write_plain_template(isolated / "plain")
            hook = (
                "from pathlib import Path\nimport time\n\nPath('begun').touch()\ntime.sleep(30)\n"
            )
            name = "pre_prompt.py" if waits_for == "hook" else "post_gen_project.py"
            write(isolated / "plain" / "hooks" / name, hook)
        process = start_program([*AISTART, "new", word, "demo", "-y", "--trust"])
        begun = {"hook": "tmp/*/*/begun", "last hook": "demo/begun", "server": "tmp/*/*/.git"}
        while not list(isolated.glob(begun[waits_for])):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
        assert process.wait(20) == (1 if sent == signal.SIGINT else 128 + sent)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the hook, which may have gone on
        assert list((isolated / "tmp").iterdir()) == []
        assert "Traceback" not in process.communicate()[1].partition("KeyboardInterrupt")[2]
    assert not (isolated / "demo").exists()


def test_program_that_goes_on_in_what_is_removed(isolated: Path) -> None:
    """As git does when a signal falls into its start."""
    writes = (
        "import itertools, os, time\nend = time.monotonic() + 0.5\nfor n in itertools.count():\n"
        "    os.makedirs(f'a/{n}')\n    if time.monotonic() > end: break\n"
    )
    for _ in range(3):
        with staging_folder(isolated) as stage:
            writer = subprocess.Popen(
                [sys.executable, "-c", writes], cwd=stage, stderr=subprocess.DEVNULL
            )
            while not (stage / "a" / "100").exists():
                time.sleep(0.001)
        writer.wait(20)
        assert list(isolated.iterdir()) == []


def test_stage_of_a_killed_run_is_swept_and_one_in_use_stays(aistart: Call, isolated: Path) -> None:
    write_plain_template(isolated / "plain")
    hook = "from pathlib import Path\nimport time\n\nPath('begun').touch()\ntime.sleep(30)\n"
    write(isolated / "plain" / "hooks" / "post_gen_project.py", hook)
    process = start_program([*AISTART, "new", "./plain", "demo", "-y", "--trust"])
    while not (isolated / "demo/begun").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (stage,) = isolated.glob(".aistart-*")
    remove_stale_stages(isolated)
    assert stage.is_dir()

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert stage.is_dir()
    assert aistart("new", "recommender", "next", "-y").exit_code == 0
    assert not stage.exists()


def test_stage_of_a_killed_run_in_the_temporary_folder_is_removed_by_the_next(
    aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = isolated / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write_plain_template(isolated / "plain")
    hook = "from pathlib import Path\nimport time\n\nPath('begun').touch()\ntime.sleep(30)\n"
    write(isolated / "plain" / "hooks" / "pre_prompt.py", hook)
    process = start_program([*AISTART, "show", "./plain", "--trust"])
    while not list(temporary.glob("*/plain/begun")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (stage,) = temporary.iterdir()
    write(temporary / "other" / "file", "of another program\n")
    assert aistart("show", "recommender").exit_code == 0
    assert stage.is_dir(), "it is in use"

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert stage.is_dir()
    assert aistart("show", "recommender").exit_code == 0
    assert list_files(temporary) == ["other/file"]


def test_what_is_no_stage_is_not_swept(isolated: Path) -> None:
    name = f".aistart-{'0f' * 8}"
    kept = isolated / "kept"
    for other in ["kept", f"{name}0", name[:-1], name.upper(), f"x{name}"]:
        write(isolated / other / "file", "")
    (isolated / name).symlink_to(kept)
    write(isolated / f".aistart-{'1' * 16}", "a file")
    before = list_files(isolated)
    remove_stale_stages(isolated)
    assert list_files(isolated) == before
    assert (isolated / name).is_symlink()

    (isolated / name).unlink()
    kept.rename(isolated / name)
    remove_stale_stages(isolated)
    assert not (isolated / name).exists()


def test_what_nohup_ignores_stays_ignored(isolated: Path) -> None:
    code = (
        "import os, signal; from aistart.staging import staging_folder\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with staging_folder() as stage:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n    print('on')\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not stage.exists()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "on\n"), done.stderr


@pytest.mark.parametrize("words", [["list"], ["doctor"], ["new", "recommender", "demo", "-y"]])
def test_output_that_cannot_be_written(isolated: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*AISTART, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: standard output: No space left on device.\n"


def test_folder_that_was_deleted(isolated: Path) -> None:
    gone = isolated / "gone"
    gone.mkdir()
    for words, message in (
        ("doctor", "the current folder no longer exists."),
        ("new recommender demo -y", "output folder: '.': No such file or directory."),
    ):
        command = f"cd {gone}; rmdir {gone}; {' '.join(AISTART)} {words}; mkdir {gone}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert done.stderr == f"Error: {message}\n"


def test_standard_input_that_is_closed(isolated: Path) -> None:
    command = f"{' '.join(AISTART)} new recommender demo <&-"
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0
    assert (isolated / "demo").is_dir()


@pytest.mark.parametrize("key", ["license", "author", "licence", "project_slug"])
def test_long_values_are_cut_in_messages(aistart: Call, isolated: Path, key: str) -> None:
    result = aistart("new", "recommender", "demo", "-y", "--set", f"{key}={'x' * 2_000_000}")
    assert result.exit_code == 2
    assert len(result.output) < 400


def test_names_that_the_terminal_cannot_show(isolated: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [*AISTART, "new", "recommender", "中文 app", "-y"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("aistart new recommender '\\u4e2d\\u6587 app' -y\n")
