"""``aistart doctor`` on machines that are made of fake programs, files and servers."""

import http.server
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aistart import __version__
from aistart.cli import main
from aistart.doctor import drivers, environment, machine, tracking
from aistart.doctor.projects import InvalidProject, Project
from tests.generator.test_cli import run_on_terminal

Call = Callable[..., Result]
GIB = 2**30
PASSWORD = "hunter2/?@x"
CUDA = ["nvidia-cublas-cu12", "nvidia-cudnn-cu12", "nvidia-nccl-cu12", "nvidia-cufft-cu12"]
SMI = "NVIDIA A100-SXM4-80GB, 81920 MiB, 570.86.15\n"
LOG = "E0000 00:00:1795 20136 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)\n"
INSTALL = ".venv/bin/python -m pip install"


# === A machine ===


class Machine:
    """A machine on which all is well, until a test changes it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.bin, self.patch = root, root / "bin", monkeypatch
        self.bin.mkdir()
        for name in ("sh", "cat", "sleep", "git", "make"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.program("python3", "echo 3.12.4 True")
        monkeypatch.setenv("PATH", str(self.bin))
        for name in list(os.environ):
            if name.startswith(("TPU_", "CUDA_")) or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name in ("VIRTUAL_ENV", "LD_LIBRARY_PATH", "NO_COLOR", "JAX_PLATFORMS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
        monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.com")
        for module in (machine, drivers):
            monkeypatch.setattr(module, "ROOT", root)
        pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GIB // 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__)
        self.memory(12)
        self.disk(100)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        monkeypatch.setattr(tracking, "UI_PORT", self.port)

    def program(self, name: str, script: str, folder: Path | None = None) -> None:
        """A shell script as a program."""
        file = (folder or self.bin) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!{self.bin / 'sh'}\n{script}\n")
        file.chmod(0o755)

    def file(self, name: str, text: str = "") -> Path:
        """A file of the system."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def memory(self, gib: float) -> None:
        self.file("proc/meminfo", f"MemFree: 1 kB\nMemAvailable: {int(gib * GIB / 1024)} kB\n")

    def disk(self, gb: float) -> None:
        usage = shutil._ntuple_diskusage(10**12, 0, int(gb * 10**9))
        self.patch.setattr(shutil, "disk_usage", lambda folder: usage)

    def gpus(self, count: int) -> None:
        self.program("nvidia-smi", f"cat {self.file('smi', SMI * count)}")


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine."""
    return Machine(tmp_path, monkeypatch)


# === A project with an environment ===


@pytest.fixture(scope="module")
def demo_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated project, which tests copy."""
    folder = tmp_path_factory.mktemp("made")
    words = ["new", "vision-classifier", "demo", "-y", "-o", str(folder)]
    assert CliRunner().invoke(main, words).exit_code == 0
    return folder / "demo"


@pytest.fixture
def demo(demo_source: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project, and the current folder."""
    shutil.copytree(demo_source, isolated / "demo")
    monkeypatch.chdir(isolated / "demo")
    return isolated / "demo"


def read_lock(project: Path) -> dict[str, str]:
    """Read the packages of a project's lock."""
    lines = (project / "requirements.lock").read_text().splitlines()
    pairs = [line.split()[0].split("==") for line in lines if line and line[0] not in " #"]
    return dict(pairs)


def make_report(project: Path) -> dict[str, Any]:
    """Build what the probe reports where all is well."""
    return {
        "python": "3.12.4",
        "packages": {**read_lock(project), "pip": "26.0"},
        "home": str(project / "src" / "demo"),
        "stage": "end",
        "reason": None,
        "devices": {"gpus": 0, "cuda": "12.5.1", "missing": CUDA},
        "plan": {
            "backend": "tensorflow",
            "requested_strategy": "auto",
            "strategy": "single",
            "replicas": 1,
            "why": "one device, because it sees 1 CPU device",
            "batch_size": 32,
            "tracking": True,
            "tracking_uri": None,
            "jax_platform": None,
            "jax_devices": 0,
        },
    }


InstallPython = Callable[..., None]


@pytest.fixture
def install_python(demo: Path, computer: Machine) -> InstallPython:
    """Make an environment whose Python prints a report: ``install_python(report, "exit 1")``."""

    def make(given: dict[str, Any] | str, then: str = "", folder: Path = demo / ".venv") -> None:
        text = given if isinstance(given, str) else json.dumps(given)
        file = computer.file("answer", f"a line of the framework's\n{text}\n")
        computer.program("python", f"cat {file}\n{then}", folder / "bin")

    return make


@pytest.fixture
def report(install_python: InstallPython, demo: Path) -> dict[str, Any]:
    """The report of an environment in which all is well."""
    report = make_report(demo)
    install_python(report)
    return report


def parse_lines(result: Result) -> dict[str, str]:
    """Parse the output into a line for each check; a fix follows its line after a bar."""
    found: dict[str, str] = {}
    check = ""
    for line in result.output.split("\n\n")[0].splitlines():
        if line.startswith(" "):
            found[check] += f" | {line.strip()}"
        else:
            check = line[9:20].strip()
            found[check] = f"{line[:7].strip()}: {line[22:]}"
    return found


def get_line(result: Result, check: str) -> str:
    """Return one line of the output: ``status: message | fix``."""
    return parse_lines(result)[check]


# === All is well, and how it is said ===


def test_all_is_well(aistart: Call, computer: Machine, report: dict[str, Any]) -> None:
    result = aistart("doctor")
    count = len(report["packages"])
    git = get_line(result, "git").split()[1].rstrip(";")
    assert result.output.splitlines() == [
        "ok       project      demo, made from vision-classifier by aistart 0.2.0",
        f"ok       git          {git}; commits are by Ada",
        "ok       memory       12.0 GiB available of 16.0 GiB",
        f"ok       environment  .venv, {count} packages",
        "ok       python       3.12.4 in .venv (the project needs >=3.11,<3.14)",
        "ok       tensorflow   2.21.0, as tested",
        "ok       keras        3.15.1, as tested",
        "ok       mlflow       3.17.2, as tested",
        f"ok       packages     all {count - 1} of requirements.lock as tested",
        "ok       gpu          none, and no TPU: training takes the CPU",
        "ok       strategy     single on TensorFlow (auto picks it): one device, because it sees "
        "1 CPU device",
        "ok       batch size   32 to begin with, as configured; double it while epochs get faster "
        "and memory suffices",
        "ok       disk         100.0 GB free",
        f"ok       {f'port {computer.port}':<11}  free, for `make ui`",
        "ok       tracking     mlflow.db, made by the first run",
        "",
        "All is ok.",
    ]
    assert result.exit_code == 0


def test_json(aistart: Call, report: dict[str, Any], computer: Machine) -> None:
    computer.disk(2.5)
    result = aistart("doctor", "--json")
    found = json.loads(result.output)
    assert all(set(finding) == {"check", "status", "message", "fix"} for finding in found)
    checks = ["project", "git", "memory", "environment", "python", "tensorflow", "keras", "mlflow"]
    checks += ["packages", "gpu", "strategy", "batch size", "disk", f"port {computer.port}"]
    assert [finding["check"] for finding in found] == [*checks, "tracking"]
    assert found[12] == {
        "check": "disk",
        "status": "warning",
        "message": "2.5 GB free; an environment and some runs need 5 GB",
        "fix": ".venv/bin/python -m demo runs prune --keep 5",
    }
    assert result.exit_code == 3


def test_the_worst_is_the_exit_code(
    aistart: Call, computer: Machine, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_AUTHOR_NAME")
    monkeypatch.delenv("GIT_AUTHOR_EMAIL")
    result = aistart("doctor")
    assert (result.exit_code, result.output.split("\n\n")[1]) == (3, "1 warning.\n")
    computer.disk(0.5)
    computer.memory(1.5)
    result = aistart("doctor")
    assert (result.exit_code, result.output.split("\n\n")[1]) == (1, "1 problem, 2 warnings.\n")


def test_colors_are_for_terminals_that_want_them(
    computer: Machine, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_doctor() -> str:
        return CliRunner().invoke(main, ["doctor"], color=True).output

    assert run_doctor().startswith("\x1b[32mok     \x1b[0m  project")
    monkeypatch.setenv("NO_COLOR", "1")
    assert run_doctor().startswith("ok       project")
    assert "\x1b" not in run_doctor()


def test_narrow_terminals_get_whole_commands(
    demo: Path, computer: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (computer.bin / "make").unlink()
    shown = re.sub(r"\x1b\[\d+m", "", run_on_terminal([], "doctor")).replace("\r\n", "\n")
    setup = "python3 -m venv .venv && .venv/bin/python -m pip install -r requirements.lock"
    setup += " && .venv/bin/python -m pip install --no-deps -e ."
    assert f"\n{' ' * 22}{setup}\n" in shown
    assert max(len(row) for row in shown.splitlines() if setup not in row) <= 60
    made = "ok       project      demo, made from vision-classifier by"
    assert f"{made}\n{' ' * 22}aistart 0.2.0\n" in shown


# === Projects, and folders that are none ===


def test_without_a_project_only_the_machine_is_checked(
    aistart: Call, computer: Machine, isolated: Path
) -> None:
    result = aistart("doctor")
    assert list(parse_lines(result)) == ["project", "python", "git", "memory", "disk", "gpu"]
    assert get_line(result, "project") == "ok: none in this folder: only this machine is checked"
    assert get_line(result, "python") == "ok: python3 is 3.12.4 (a project needs >=3.11,<3.14)"
    assert get_line(result, "gpu") == "ok: none, and no TPU: training would take the CPU"
    assert result.exit_code == 0


def test_a_named_folder_must_be_a_project(aistart: Call, isolated: Path) -> None:
    (isolated / "empty").mkdir()
    for name in ("empty", "nowhere"):
        result = aistart("doctor", name)
        assert result.output == (
            f"Error: PROJECT: {name!r} is not a project of aistart: it has no "
            ".aistart/answers.toml.\n"
        )
        assert result.exit_code == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("template = ", "it is not TOML: Invalid value (at end of document)"),
        ('template = "x"\naistart = "1"\n', "it lacks 'answers'"),
        (
            'template = "x"\naistart = "1"\n[answers]\npackage_name = "a; b"\n',
            "package_name 'a; b' names no package",
        ),
    ],
)
def test_broken_answers(
    text: str, reason: str, aistart: Call, demo: Path, computer: Machine
) -> None:
    (demo / ".aistart" / "answers.toml").write_text(text)
    result = aistart("doctor")
    assert get_line(result, "project") == (
        f"problem: .aistart/answers.toml: {reason}; only this machine is checked | "
        f"git -C {demo} restore .aistart/answers.toml"
    )
    assert "memory" in parse_lines(result)
    assert result.exit_code == 1


def test_commands_can_be_typed_where_one_is(
    aistart: Call, demo: Path, computer: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo / "src")
    setup = "(cd .. && make setup)"
    assert (
        get_line(aistart("doctor"), "environment") == f"problem: none: there is no .venv | {setup}"
    )
    monkeypatch.chdir(demo.parent)
    shutil.move(demo, demo.parent / "my app")
    assert get_line(aistart("doctor", "my app"), "environment").endswith(
        "(cd 'my app' && make setup)"
    )


# === The environment ===


def test_no_environment(aistart: Call, demo: Path, computer: Machine) -> None:
    computer.gpus(1)
    result = aistart("doctor")
    assert get_line(result, "environment") == "problem: none: there is no .venv | make setup"
    assert get_line(result, "python") == "ok: python3 is 3.12.4 (a project needs >=3.11,<3.14)"
    gpu = "1 x NVIDIA A100-SXM4-80GB (81920 MiB), driver 570.86.15"
    assert get_line(result, "gpu") == f"ok: {gpu}; no framework was asked"
    assert result.exit_code == 1
    (computer.bin / "make").unlink()
    assert get_line(aistart("doctor"), "environment").endswith(
        f"| python3 -m venv .venv && {INSTALL} -r requirements.lock && {INSTALL} --no-deps -e ."
    )


def test_the_active_environment_serves_if_it_has_tensorflow(
    aistart: Call,
    demo: Path,
    computer: Machine,
    install_python: InstallPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    active = computer.root / "active"
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    given = make_report(demo)
    install_python(given, folder=active)
    assert get_line(aistart("doctor"), "environment").startswith(f"ok: {active}, ")
    del given["packages"]["tensorflow"]
    install_python(given, folder=active)
    result = aistart("doctor")
    assert get_line(result, "environment") == (
        f"problem: none: there is no .venv, and the active {active} is without TensorFlow | "
        "make setup"
    )
    assert "keras" not in parse_lines(result)


def test_a_setup_that_did_not_end(aistart: Call, install_python: InstallPython, demo: Path) -> None:
    install_python({**make_report(demo), "packages": {"pip": "26.0"}, "stage": "tensorflow"})
    assert get_line(aistart("doctor"), "environment") == (
        "problem: .venv is without TensorFlow | rm -rf .venv && make setup"
    )


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("echo Segmentation >&2; exit 3", "Segmentation"),
        ("exit 3", "exit code 3, without a message"),
        ("kill -11 $$", "killed by Segmentation fault (signal 11)"),
        ("echo nonsense", "its output is not understood"),
        ("""echo '{"python": "3.12", "packages": 7}'""", "its output is not understood"),
        ("sleep 60 & sleep 60", "no answer within 0.5 s"),
    ],
)
def test_a_python_that_does_not_answer(
    script: str,
    trouble: str,
    aistart: Call,
    demo: Path,
    computer: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "LIMIT", 0.5)
    computer.program("python", script, demo / ".venv" / "bin")
    began = time.monotonic()
    result = aistart("doctor")
    assert get_line(result, "environment") == (
        f"problem: .venv/bin/python: {trouble} | rm -rf .venv && make setup"
    )
    assert result.exit_code == 1
    assert time.monotonic() - began < 10


def test_a_python_that_is_gone(aistart: Call, demo: Path, computer: Machine) -> None:
    (demo / ".venv").symlink_to("gone")
    assert get_line(aistart("doctor"), "environment") == (
        "problem: .venv/bin/python: does not start: No such file or directory | "
        "rm -rf .venv && make setup"
    )


def test_what_the_framework_did_before_it_crashed_is_told(
    aistart: Call, demo: Path, computer: Machine, install_python: InstallPython
) -> None:
    install_python(
        {**make_report(demo), "stage": "tensorflow", "devices": None, "plan": None}, "kill -4 $$"
    )
    result = aistart("doctor")
    assert get_line(result, "tensorflow") == "ok: 2.21.0, as tested"
    assert get_line(result, "devices") == (
        "problem: TensorFlow does not start: killed by Illegal instruction (signal 4); its "
        "packages need a CPU with AVX; the whole message: | "
        ".venv/bin/python -c 'import tensorflow'"
    )


def test_the_project_must_be_installed(
    aistart: Call, demo: Path, install_python: InstallPython, report: dict[str, Any]
) -> None:
    install_python({**report, "home": None})
    install = f"{INSTALL} --no-deps -e ."
    count = len(report["packages"])
    assert get_line(aistart("doctor"), "environment") == (
        f"warning: .venv, {count} packages; the project is not installed in it | {install}"
    )
    install_python({**report, "home": "/other/src/demo"})
    assert get_line(aistart("doctor"), "environment") == (
        f"warning: .venv, {count} packages; it imports demo from /other/src/demo, not from this "
        f"project | {install}"
    )


# === Versions ===


def test_versions(
    aistart: Call, demo: Path, install_python: InstallPython, report: dict[str, Any]
) -> None:
    packages = report["packages"]
    packages |= {"keras": "3.15.9", "tensorflow": "2.20.0", "jax": "0.11.0", "scipy": "1.0"}
    del packages["mlflow"], packages["pillow"], packages["colorama"]  # the last: Windows has it
    install_python(report)
    result = aistart("doctor")
    assert get_line(result, "tensorflow") == (
        f"problem: 2.20.0; the project needs >=2.21,<2.22 | {INSTALL} tensorflow==2.21.0"
    )
    assert get_line(result, "keras") == (
        f"warning: 3.15.9; tested with 3.15.1 | {INSTALL} keras==3.15.1"
    )
    assert get_line(result, "mlflow") == (
        f"problem: not installed; tested with 3.17.2 | {INSTALL} -r requirements.lock"
    )
    assert get_line(result, "jax") == (
        f"problem: 0.11.0; the project needs >=0.10,<0.11 | {INSTALL} -e '.[jax]'"
    )
    scipy = get_line(result, "packages")
    assert scipy.startswith("warning: 1 missing: pillow; 1 of other versions: scipy 1.0 (tested: ")
    assert scipy.endswith(f") | {INSTALL} -r requirements.lock")


def test_an_environment_of_uv(
    aistart: Call, computer: Machine, install_python: InstallPython, report: dict[str, Any]
) -> None:
    del report["packages"]["pip"], report["packages"]["keras"]
    report["packages"] |= {"tensorflow-cpu": report["packages"].pop("tensorflow")}
    install_python(report)
    install = "python3 -m pip --python .venv/bin/python install -r requirements.lock"
    assert get_line(aistart("doctor"), "keras").endswith(f" | {install}")
    computer.program("uv", "")
    uv = "uv pip install --python .venv/bin/python"
    result = aistart("doctor")
    assert get_line(result, "keras").endswith(f" | {uv} -r requirements.lock")
    assert get_line(result, "tensorflow") == (
        "warning: tensorflow-cpu 2.21.0 in place of the tested tensorflow 2.21.0 | "
        f"{uv} tensorflow==2.21.0"
    )


def test_a_lock_that_is_lost(aistart: Call, demo: Path, report: dict[str, Any]) -> None:
    (demo / "requirements.lock").unlink()
    assert get_line(aistart("doctor"), "packages") == (
        "warning: requirements.lock, the tested set, is missing or empty | "
        "git restore requirements.lock"
    )


def test_pythons(
    aistart: Call,
    demo: Path,
    install_python: InstallPython,
    report: dict[str, Any],
    computer: Machine,
) -> None:
    install_python({**report, "python": "3.14.0"})
    said = "problem: 3.14.0 in .venv; the project needs >=3.11,<3.14"
    again = "rm -rf .venv && make setup"
    assert get_line(aistart("doctor"), "python") == f"{said} | {again} PYTHON=python3"
    computer.program("python3", "echo 3.14.1 True")
    assert get_line(aistart("doctor"), "python") == (
        f"{said} | uv python install 3.13 && {again} PYTHON=$(uv python find 3.13)"
    )
    shutil.rmtree(demo / ".venv")
    computer.program("python3.11", "echo 3.11.2 True")
    assert get_line(aistart("doctor"), "python") == (
        "warning: python3 is 3.14.1; a project needs >=3.11,<3.14 | make setup PYTHON=python3.11"
    )
    computer.program("apt-get", "")
    computer.program("python3", "echo 3.13.1 False")
    assert get_line(aistart("doctor"), "python") == (
        "problem: python3 is 3.13.1 (a project needs >=3.11,<3.14), but it cannot make "
        "environments: no ensurepip | sudo apt-get install python3-venv"
    )
    for name in ("python3", "python3.11"):
        (computer.bin / name).unlink()
    assert get_line(aistart("doctor"), "python").startswith(
        "problem: there is no python3 that works; "
    )


# === GPUs and TPUs ===


def get_gpu_line(aistart: Call) -> str:
    """The line on GPUs, without what the driver says of them."""
    shown = "2 x NVIDIA A100-SXM4-80GB (81920 MiB), driver 570.86.15; "
    return get_line(aistart("doctor"), "gpu").replace(shown, "")


def test_gpus_that_the_framework_sees(
    aistart: Call, computer: Machine, report: dict[str, Any], install_python: InstallPython
) -> None:
    computer.gpus(2)
    report["devices"] |= {"gpus": 2, "missing": []}
    why = "2 replicas, because it sees 2 GPUs"
    report["plan"] |= {"strategy": "mirrored", "replicas": 2, "why": why}
    install_python(report)
    result = aistart("doctor")
    assert get_line(result, "gpu") == (
        "ok: 2 x NVIDIA A100-SXM4-80GB (81920 MiB), driver 570.86.15; TensorFlow sees all"
    )
    assert get_line(result, "strategy") == f"ok: mirrored on TensorFlow (auto picks it): {why}"
    assert get_line(result, "batch size") == (
        "ok: 64 to begin with: the configured 32 for each of 2 replicas (--data.batch_size 64, "
        "train.learning_rate raised with it); double it while epochs get faster and memory suffices"
    )


def test_why_the_framework_sees_no_gpu(
    aistart: Call,
    computer: Machine,
    report: dict[str, Any],
    install_python: InstallPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computer.gpus(2)
    none = "problem: TensorFlow sees none: "
    assert get_gpu_line(aistart) == (
        f"{none}CUDA's libraries are not installed: {', '.join(CUDA[:3])} and 1 more | "
        f"{INSTALL} -e '.[gpu]'"
    )
    report["devices"]["missing"] = []
    install_python(report, f"cat {computer.file('log', LOG)} >&2")
    assert get_gpu_line(aistart) == (
        f"{none}it says: failed call to cuInit: UNKNOWN ERROR (303) | "
        f"{INSTALL} --force-reinstall -e '.[gpu]'"
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda/lib64")
    assert get_gpu_line(aistart).endswith(
        "LD_LIBRARY_PATH may name other libraries | unset LD_LIBRARY_PATH"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert get_gpu_line(aistart) == (
        "warning: TensorFlow sees none, as CUDA_VISIBLE_DEVICES is '-1' | "
        "unset CUDA_VISIBLE_DEVICES"
    )
    report["devices"]["gpus"] = 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    install_python(report)
    assert get_gpu_line(aistart) == "ok: TensorFlow sees 1 of them, as CUDA_VISIBLE_DEVICES is '1'"


def test_a_build_without_cuda(
    aistart: Call, computer: Machine, report: dict[str, Any], install_python: InstallPython
) -> None:
    computer.gpus(2)
    report["devices"]["cuda"] = None
    report["packages"]["tensorflow-cpu"] = "2.21.0"
    install_python(report)
    assert get_gpu_line(aistart) == (
        "problem: TensorFlow sees none: it is a build for CPUs only | "
        f".venv/bin/python -m pip uninstall tensorflow-cpu && {INSTALL} -e '.[gpu]'"
    )


def test_a_driver_that_is_too_old(
    aistart: Call, computer: Machine, report: dict[str, Any], install_python: InstallPython
) -> None:
    computer.program("nvidia-smi", f"cat {computer.file('smi', 'Tesla T4, 15360 MiB, 470.57.02')}")
    computer.program("ubuntu-drivers", "")
    report["devices"]["missing"] = []
    install_python(report)
    assert get_gpu_line(aistart) == (
        "problem: 1 x Tesla T4 (15360 MiB), driver 470.57.02; TensorFlow sees none: CUDA 12 needs "
        "NVIDIA's driver 525.60 or newer | sudo ubuntu-drivers install"
    )


def test_drivers_in_trouble(
    aistart: Call, computer: Machine, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mismatch = "Failed to initialize NVML: Driver/library version mismatch"
    computer.program("nvidia-smi", f"echo '{mismatch}'; exit 18")
    assert get_gpu_line(aistart) == f"problem: nvidia-smi: {mismatch} | sudo reboot"
    monkeypatch.setattr(drivers, "QUICK", 0.5, raising=False)
    computer.program("nvidia-smi", "echo 'No devices were found'; exit 6")
    assert get_gpu_line(aistart) == "ok: none, and no TPU: training takes the CPU"
    (computer.bin / "nvidia-smi").unlink()
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17\nGCC 12.2.0\n"
    computer.file("proc/driver/nvidia/version", text)
    assert get_gpu_line(aistart) == (
        "warning: NVIDIA's driver 535.161.08 is loaded; TensorFlow sees none, and there is no "
        "nvidia-smi; a container is given GPUs with: docker run --gpus all"
    )


def test_jax(
    aistart: Call,
    computer: Machine,
    report: dict[str, Any],
    install_python: InstallPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computer.gpus(2)
    report["packages"]["jax"] = "0.10.2"
    plan = report["plan"]
    plan |= {"backend": "jax", "jax_platform": "cpu", "jax_devices": 1}
    install_python(report)
    assert get_gpu_line(aistart) == (
        f"problem: JAX sees none: it is a build for CPUs only | {INSTALL} -e '.[jax-gpu]'"
    )
    report["packages"]["jax-cuda13-plugin"] = "0.10.2"
    install_python(report)
    assert get_gpu_line(aistart).startswith(
        "problem: JAX sees none: CUDA 13 needs NVIDIA's driver 580.65 or newer"
    )
    plan |= {"jax_platform": "gpu", "jax_devices": 2}
    install_python(report)
    assert get_gpu_line(aistart) == "ok: JAX sees all"
    assert get_line(aistart("doctor"), "jax") == "ok: 0.10.2, within >=0.10,<0.11"


def test_jax_that_is_not_installed(
    aistart: Call, computer: Machine, report: dict[str, Any], install_python: InstallPython
) -> None:
    reason = "runtime.backend: jax is not installed; it is an extra: pip install -e '.[jax]'."
    install_python({**report, "stage": "project", "plan": None, "reason": reason})
    assert get_line(aistart("doctor"), "strategy") == f"problem: {reason} | {INSTALL} -e '.[jax]'"


def test_tpus(
    aistart: Call,
    computer: Machine,
    report: dict[str, Any],
    install_python: InstallPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TPU_WORKER_ID", "0")
    assert get_line(aistart("doctor"), "tpu") == (
        "warning: TPU_WORKER_ID is set, and there is no TPU device in /dev | unset TPU_WORKER_ID"
    )
    chips = [str(computer.file(f"dev/vfio/{number}")) for number in range(4)]
    seen = f"4 TPU devices ({', '.join(chips[:3])} and 1 more)"
    extra = f"{INSTALL} -e '.[tpu]'"
    result = aistart("doctor")
    assert "gpu" not in parse_lines(result)
    missing = f"problem: {seen}; JAX's part for TPUs is not installed | {extra}"
    assert get_line(result, "tpu") == missing
    report["packages"]["libtpu"] = "0.0.42"
    install_python(report)
    assert get_line(aistart("doctor"), "tpu") == (
        f"warning: {seen}; only JAX uses it, and the backend is tensorflow | "
        ".venv/bin/train --config configs/tpu.yaml"
    )
    report["plan"] |= {"backend": "jax", "jax_platform": "tpu", "jax_devices": 4}
    install_python(report)
    assert get_line(aistart("doctor"), "tpu") == f"ok: {seen}; JAX sees 4"


def test_other_devices_are_no_tpus(
    aistart: Call, computer: Machine, report: dict[str, Any]
) -> None:
    computer.file("dev/vfio/7")  # of a virtual machine's network card
    computer.file("dev/accel/accel0")  # a laptop's neural processor
    computer.file("sys/bus/pci/devices/0000:00:01.0/vendor", "0x8086\n")
    assert "tpu" not in parse_lines(aistart("doctor"))
    computer.file("sys/bus/pci/devices/0000:00:02.0/vendor", "0x1ae0\n")
    assert get_line(aistart("doctor"), "tpu").startswith("problem: 1 TPU device (")


def test_a_configuration_that_train_would_refuse(
    aistart: Call, report: dict[str, Any], install_python: InstallPython
) -> None:
    reason = "environment variable: 'APP__TRAIN__EPOCH' is unknown."
    install_python({**report, "stage": "project", "plan": None, "reason": reason})
    assert get_line(aistart("doctor"), "strategy") == (
        f"problem: train would not start: {reason} | .venv/bin/python -m demo config"
    )


# === The machine ===


def test_memory(aistart: Call, computer: Machine) -> None:
    computer.memory(0.5)
    assert get_line(aistart("doctor"), "memory") == (
        "problem: 0.5 GiB available of 16.0 GiB; the smallest training takes 1 GiB; what uses "
        "it now: | ps aux --sort=-rss | head"
    )
    computer.memory(1.5)
    assert get_line(aistart("doctor"), "memory").startswith(
        "warning: 1.5 GiB available of 16.0 GiB; "
    )


@pytest.mark.parametrize(
    ("group", "folder", "limit", "used", "files"),
    [
        ("0::/user/job", "user", "memory.max", "memory.current", "inactive_file"),
        (
            "4:memory:/docker/abc",
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ],
)
def test_memory_of_a_container(
    group: str, folder: str, limit: str, used: str, files: str, aistart: Call, computer: Machine
) -> None:
    computer.file("proc/self/cgroup", f"3:cpu:/\n{group}\n")
    computer.file(f"sys/fs/cgroup/{folder}/{limit}", f"{8 * GIB}\n")
    computer.file(f"sys/fs/cgroup/{folder}/{used}", f"{7 * GIB}\n")
    computer.file(f"sys/fs/cgroup/{folder}/memory.stat", f"anon 1\n{files} {2 * GIB}\n")
    computer.file("sys/fs/cgroup/user/job/memory.max", "max\n")
    assert get_line(aistart("doctor"), "memory") == (
        "ok: 3.0 GiB available of 8.0 GiB, the limit of this container or group"
    )


def test_disk(aistart: Call, computer: Machine, demo: Path) -> None:
    computer.disk(4.94)
    result = aistart("doctor")
    assert (
        get_line(result, "disk") == "warning: 4.9 GB free; an environment and some runs need 5 GB"
    )
    computer.disk(0.97)
    assert get_line(aistart("doctor"), "disk") == "problem: 1.0 GB free, less than 1 GB"


def test_git(aistart: Call, computer: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_AUTHOR_NAME")
    monkeypatch.delenv("GIT_AUTHOR_EMAIL")
    assert get_line(aistart("doctor"), "git").endswith(
        "; it does not know who you are, so cannot commit | "
        "git config --global user.name 'YOUR NAME' && "
        "git config --global user.email YOU@EXAMPLE.COM"
    )
    (computer.bin / "git").unlink()
    install = "xcode-select --install" if sys.platform == "darwin" else "sudo apt-get install git"
    assert get_line(aistart("doctor"), "git") == f"problem: not installed | {install}"


# === MLflow ===


@contextmanager
def server(
    pages: dict[str, tuple[int, str]], port: int = 0
) -> Iterator[tuple[str, list[str | None]]]:
    """A server with these pages; its address, and the credentials that it got."""
    seen: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            status, text = pages.get(self.path, (404, "not here"))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", text)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{http_server.server_port}", seen
        http_server.shutdown()


def mlflow(version: str) -> dict[str, tuple[int, str]]:
    """The pages of an MLflow server."""
    return {"/health": (200, "OK"), "/version": (200, version)}


CheckStore = Callable[[str], str]


@pytest.fixture
def check_store(
    aistart: Call, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> CheckStore:
    """The line on tracking where MLFLOW_TRACKING_URI is this."""

    def check(uri: str) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        result = aistart("doctor")
        assert "hunter2" not in result.output
        return get_line(result, "tracking")

    return check


def test_servers_that_answer(check_store: CheckStore) -> None:
    with server(mlflow("3.17.0")) as (place, _):
        assert check_store(f"http://{place}") == f"ok: http://{place}: MLflow 3.17.0 answers"
    with server(mlflow("2.9.2\n")) as (place, _):
        assert check_store(f"http://{place}/") == (
            f"warning: http://{place}/: MLflow 2.9.2 answers; the project was tested with 3.17.2. "
            "On the server's machine: | pip install --upgrade mlflow==3.17.2"
        )
    with server({"/health": (200, "OK"), "/version": (200, "<html>")}) as (place, _):
        assert check_store(f"http://{place}") == (
            f"warning: http://{place}: it answers, but does not say that it is MLflow"
        )
    below = {f"/ml{page}": text for page, text in mlflow("4.0.0").items()}
    with server(below) as (place, _):
        assert check_store(f"http://{place}/ml").startswith("ok: ")


def test_servers_that_do_not_answer(
    check_store: CheckStore, monkeypatch: pytest.MonkeyPatch, computer: Machine
) -> None:
    then = "until then runs are recorded in their folders alone"
    assert check_store(f"http://localhost:{computer.port}") == (
        f"problem: http://localhost:{computer.port}: Connection refused; {then} | "
        f".venv/bin/mlflow server --port {computer.port} --backend-store-uri sqlite:///mlflow.db"
    )
    monkeypatch.setattr(tracking, "LIMIT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        place = f"127.0.0.1:{deaf.getsockname()[1]}"
        assert check_store(f"http://{place}").startswith(
            f"problem: http://{place}: no answer within 0.3 s; {then} | .venv/bin/mlflow server "
        )
    with server({"/health": (500, "")}) as (place, _):
        assert check_store(f"http://{place}") == (
            f"problem: http://{place}: it answers 500 Internal Server Error; {then} | "
            "unset MLFLOW_TRACKING_URI"
        )


def test_credentials_go_to_the_server_alone(
    check_store: CheckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server({"/health": (401, "")}) as (place, seen):
        assert check_store(f"http://ada:hunter2@{place}") == (
            f"problem: http://{place}: it answers 401 Unauthorized; until then runs are recorded "
            "in their folders alone | "
            "export MLFLOW_TRACKING_USERNAME=YOU MLFLOW_TRACKING_PASSWORD=YOURS"
        )
    assert seen == ["Basic YWRhOmh1bnRlcjI="]
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2-token")
    with server(mlflow("3.17.2")) as (other, seen_there):
        pages = {"/health": (302, f"http://{other}/health")}
        with server(pages) as (place, seen):
            assert "it answers 302 Found" in check_store(f"http://{place}")
    assert (seen, seen_there) == (["Bearer hunter2-token"], [])


def test_no_password_is_shown(
    check_store: CheckStore, computer: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = computer.port
    then = "until then runs are recorded in their folders alone | unset MLFLOW_TRACKING_URI"
    assert check_store(f"postgresql://ada:hunter2@127.0.0.1:{port}/runs?password=hunter2") == (
        f"problem: postgresql://127.0.0.1:{port}/runs: Connection refused; {then}"
    )
    assert check_store(f"postgresql+psycopg://ada:{PASSWORD}@127.0.0.1:{port}/runs") == (
        f"problem: postgresql+psycopg://127.0.0.1:{port}/runs is not an address; write /, ? and @ "
        "in a password as %2F, %3F and %40 | unset MLFLOW_TRACKING_URI"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        assert check_store(f"mysql://ada:hunter2@{place}/runs") == (
            f"ok: mysql://{place}/runs: something listens there; no login was tried"
        )


def test_stores_without_a_server(
    check_store: CheckStore, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (demo / "mlflow.db").write_bytes(bytes(1_500_000))
    assert check_store("") == "ok: mlflow.db, 1.5 MB"
    assert check_store("sqlite:///other/mlflow.db") == (
        f"problem: {demo}/other/mlflow.db: its folder does not exist | mkdir -p {demo}/other"
    )
    assert check_store("./mlruns") == (
        "problem: ./mlruns: MLflow no longer records to plain folders | unset MLFLOW_TRACKING_URI"
    )
    assert check_store("databricks://team").startswith(
        "warning: databricks://team: not a kind of store that can be tried here"
    )
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "mlflow.db")
    assert check_store("") == "problem: mlflow.db: it is not writable | chmod u+w mlflow.db"


def test_the_configuration_names_the_store(
    aistart: Call,
    install_python: InstallPython,
    report: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    report["plan"]["tracking_uri"] = "sqlite:///own.db"
    install_python(report)
    assert get_line(aistart("doctor"), "tracking") == "ok: own.db, made by the first run"
    report["plan"]["tracking"] = False
    install_python(report)
    assert get_line(aistart("doctor"), "tracking") == "ok: off, as tracking.enabled is false"


def test_the_port_of_mlflows_pages(
    aistart: Call, computer: Machine, report: dict[str, Any]
) -> None:
    check = f"port {computer.port}"
    with server({}, computer.port):
        result = aistart("doctor")
    said, fix = get_line(result, check).split(" | ")
    assert said == "warning: in use by another program, so that `make ui` fails; instead:"
    command, port = fix.rsplit(" ", 1)
    assert command == ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db --port"
    assert int(port) > computer.port
    assert result.exit_code == 3
    with server(mlflow("3.17.2"), computer.port):
        assert get_line(aistart("doctor"), check) == "ok: MLflow 3.17.2 is open there already"


@pytest.mark.parametrize(
    "declared",
    [
        "project = 5\n",
        "[project]\ndependencies = [1]\noptional-dependencies = ['x']\n",
        "[project]\ndependencies = 'x'\n[project.optional-dependencies]\ngpu = 5\n",
        "x = " + "[" * 5000,
    ],
)
def test_a_broken_pyproject_is_no_crash(tmp_path: Path, declared: str) -> None:
    (tmp_path / "pyproject.toml").write_text(declared)
    (tmp_path / "requirements.lock").write_bytes(b"\xff\xfe")
    project = Project(tmp_path, "vision-classifier", "1", "demo")
    assert project.version_range("tensorflow") == ""
    assert project.distribution == "demo"
    assert project.pins == {}


def test_answers_that_nest_without_end(tmp_path: Path) -> None:
    (tmp_path / ".aistart").mkdir()
    (tmp_path / ".aistart" / "answers.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(InvalidProject):
        Project.read(tmp_path)


# === What a team's profile needs ===

NEEDS = """\
[features]
required = ["report", "monitor", "kubernetes"]
[machine]
aistart = ">=0.1"
python = ">=3.12"
driver = "560"
gpu_memory_gib = 80
memory_gib = 16
disk_gb = 50
"""


@pytest.fixture
def team(isolated: Path) -> Path:
    """A team's profile in a file."""
    file = isolated / "team.toml"
    file.write_text(NEEDS)
    return file


def test_a_machine_that_has_what_the_team_needs(
    aistart: Call, computer: Machine, team: Path
) -> None:
    computer.gpus(2)
    for name in ("podman", "kubectl"):
        computer.program(name, "")
    assert aistart("profile", "use", "team.toml").exit_code == 0
    result = aistart("doctor", "--team", "team.toml")
    lines = result.output.splitlines()
    assert lines[next(n for n, line in enumerate(lines) if " profile " in line) :] == [
        f"ok       profile      {team}, in use",
        f"ok       aistart      {__version__} (the team needs >=0.1)",
        "ok       team python  3.12.4 (the team needs >=3.12)",
        "ok       team driver  570.86.15 (the team needs 560 or newer)",
        "ok       team gpu     80.0 GiB (the team needs 80 GiB)",
        "ok       team memory  16.0 GiB in all (the team needs 16 GiB)",
        "ok       team disk    100.0 GB free (the team needs 50 GB)",
        "ok       kubectl      found, for kubernetes",
        "",
        "All is ok.",
    ]
    assert result.exit_code == 0
    assert "team memory" in aistart("doctor").output, "that of `aistart profile use`"


def test_a_machine_that_lacks_it(
    aistart: Call, computer: Machine, demo: Path, team: Path, install_python: InstallPython
) -> None:
    report = make_report(demo)
    report["python"] = "3.11.9"
    install_python(report)
    computer.program("ubuntu-drivers", "")
    computer.disk(20)
    team.write_text(NEEDS.replace(">=0.1", ">=99").replace("= 16", "= 64"))
    result = aistart("doctor", "--team", "../team.toml")
    lines = parse_lines(result)
    use = "aistart profile use ../team.toml"
    assert lines["profile"] == f"warning: ../team.toml: it is not in use here | {use}"
    assert lines["aistart"] == (
        f"problem: {__version__}; the team needs >=99 | pip install --upgrade 'aistart>=99'"
    )
    setup = "rm -rf .venv && make setup PYTHON=python3"
    assert lines["team python"] == (f"problem: 3.11.9 in .venv; the team needs >=3.12 | {setup}")
    assert lines["team driver"] == (
        "problem: none of NVIDIA's; the team needs 560 or newer | sudo ubuntu-drivers install"
    )
    assert lines["team gpu"] == "problem: none; the team needs one with 80 GiB"
    assert lines["team memory"] == "problem: 16.0 GiB in all; the team needs 64 GiB"
    assert lines["team disk"] == (
        f"problem: 20.0 GB free; the team needs 50 GB. What takes most: | du -xh -d 1 {Path.home()}"
    )
    assert lines["features"] == (
        "problem: the team requires monitor, kubernetes | aistart add monitor kubernetes"
    )
    assert lines["docker"].startswith("warning: not installed; for docker")
    assert result.exit_code == 1
    found = json.loads(aistart("doctor", "--team", "../team.toml", "--json").output)
    assert found[-1]["check"] == "kubectl"
    assert all(set(finding) == {"check", "status", "message", "fix"} for finding in found)
    computer.program("nvidia-smi", "echo 'NVIDIA T4, 15360 MiB, 535.10'")
    lines = parse_lines(aistart("doctor", "--team", "../team.toml"))
    assert lines["team driver"].startswith("problem: 535.10; the team needs 560 or newer")
    assert lines["team gpu"] == "problem: 15.0 GiB; the team needs 80 GiB | nvidia-smi"


def test_the_server_of_the_team(
    aistart: Call, computer: Machine, demo: Path, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", PASSWORD)
    with server(mlflow("3.17.2")) as (address, seen):
        uri = f"http://{address}"
        team.write_text(f'tracking_uri = "{uri}"\n')
        words = ["doctor", "--team", str(team)]
        assert get_line(aistart(*words), "team server") == (
            f"warning: {uri}: MLflow 3.17.2 answers; the project records to a file of its own | "
            f"aistart update --set tracking_uri={uri}"
        )
        assert seen[-1] == f"Bearer {PASSWORD}"
    assert get_line(aistart(*words), "team server") == (
        f"problem: {uri}: Connection refused; to try it: | curl -sS {uri}/health"
    )


def test_a_profile_at_a_url(
    aistart: Call, computer: Machine, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", PASSWORD)
    pages = mlflow("3.17.2")
    with server(pages) as (address, seen):
        url = f"http://{address}/team.toml"
        pages["/team.toml"] = (200, f'tracking_uri = "http://{address}"\n')
        result = aistart("doctor", "--team", url)
        assert get_line(result, "profile") == (
            f"warning: {url}: it is not in use here | aistart profile use {url}"
        )
        assert get_line(result, "team server") == f"ok: http://{address}: MLflow 3.17.2 answers"
        assert set(seen) == {None}, "no credentials for a server that nobody signed off"
        assert aistart("profile", "use", url, "--trust").exit_code == 0
        assert get_line(aistart("doctor", "--team", url), "profile").startswith(
            f"ok: {url}, signed"
        )
        assert seen[-1] == f"Bearer {PASSWORD}"
        pages["/team.toml"] = (200, 'license = "MIT"\n')
        result = aistart("doctor", "--team", url)
        assert " has changed since it was signed off " in get_line(result, "profile")
        assert get_line(result, "profile").endswith(
            "; that copy is checked | aistart profile update"
        )
        assert get_line(result, "team server").startswith("ok: ")
    line = get_line(aistart("doctor", "--team", url), "profile")
    assert line.startswith(f"warning: {url!r}: Connection refused; the copy that was signed off ")
    (copy,) = (Path.home() / ".config" / "aistart" / "profiles").iterdir()
    copy.write_text("")
    assert get_line(aistart("doctor"), "profile") == (
        f"problem: the copy of {url!r} was edited or deleted | aistart profile update"
    )
    result = aistart("doctor", "--team", f"http://{address}/other.toml")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_git_that_is_too_old_for_updates(aistart: Call, computer: Machine, isolated: Path) -> None:
    (computer.bin / "git").unlink()
    computer.program("git", "echo git version 2.34.1")
    assert get_line(aistart("doctor"), "git") == (
        "warning: 2.34.1; `aistart update` needs 2.38 | sudo apt-get install git"
    )
