"""The project's environment: where it is, and whether it holds what the project was tested with."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aistart.doctor.findings import Finding, ok, problem, some, warning
from aistart.doctor.machine import remedy
from aistart.doctor.processes import run
from aistart.doctor.projects import VENV, Project, allows, environment_python
from aistart.shell import quoted

PROBE = Path(__file__).with_name("probe.py")
LIMIT = 120.0  # seconds for the probe; TensorFlow takes ten to start on two slow cores
MAIN = ("tensorflow", "keras", "mlflow")  # have a line each
# Packages of other names that are imported as ``tensorflow``.
STAND_INS = ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-rocm")


@dataclass(frozen=True)
class Seen:
    """What TensorFlow sees.

    Attributes:
        cuda: the version of CUDA that it was built for; None: for CPUs only.
        missing: packages with CUDA's libraries that it asks for and that are not installed.
    """

    gpus: int
    cuda: str | None
    missing: list[str]


@dataclass(frozen=True)
class Plan:
    """What ``train`` would do: its configuration, and the devices that it would use.

    Attributes:
        wish: the configured strategy, such as ``auto``; ``strategy`` is the one that comes of it.
        batch_size: of the configuration, in examples on all devices.
    """

    backend: str
    wish: str
    strategy: str
    replicas: int
    why: str
    batch_size: int
    tracking: bool
    tracking_uri: str | None
    jax_platform: str | None
    jax_devices: int


@dataclass(frozen=True)
class Answer:
    """What the project's Python said of itself.

    Attributes:
        home: folder from which it imports the project's package; None: it does not.
        stage: what it was about to do when it said so last: ``tensorflow``, ``project``, ``end``.
        reason: why it got no further.
    """

    python: str
    packages: dict[str, str]
    home: str | None
    stage: str
    reason: str | None
    seen: Seen | None
    plan: Plan | None

    @classmethod
    def from_json(cls, line: str) -> "Answer | None":
        """The answer in a line of output, if it is one."""
        try:
            raw: dict[str, Any] = json.loads(line)
            seen, plan = raw.pop("seen"), raw.pop("plan")
            raw["packages"] = dict(raw["packages"])
            return cls(
                **raw,
                seen=None if seen is None else Seen(**seen),
                plan=None if plan is None else Plan(**plan),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        folder: as it is written in the project's folder.
        log: what the framework wrote while it looked for devices.
    """

    project: Project
    folder: Path
    answer: Answer
    log: str = ""

    @property
    def python(self) -> str:
        """Its Python, as a shell's word in the project's folder."""
        return quoted(str(environment_python(self.folder)))

    def pip(self, verb: str, what: str) -> str:
        """The command that installs or uninstalls what is named."""
        if "pip" in self.answer.packages:
            pip = f"{self.python} -m pip {verb}"
        elif shutil.which("uv"):  # which leaves pip out of the environments that it makes
            pip = f"uv pip {verb} --python {self.python}"
        else:
            pip = f"python3 -m pip --python {self.python} {verb}"
        return self.project.command(f"{pip} {what}")

    def install(self, what: str) -> str:
        """The command that installs what is named."""
        return self.pip("install", what)

    def module(self, words: str) -> str:
        """The command that runs a module of the project's package."""
        return self.project.command(f"{self.python} -m {self.project.package}.{words}")


def find_environment(project: Project) -> Iterator[Finding | Environment]:
    """Look for the project's environment and ask it; yields it, if there is one that answers."""
    active = os.environ.get("VIRTUAL_ENV")
    own = os.path.lexists(project.folder / VENV)
    if not own and not active:
        yield problem("environment", "none: there is no .venv", project.setup_command())
        return
    folder = VENV if own else Path(str(active))
    asked = _ask(project, folder)
    if isinstance(asked, Finding):
        yield asked
    elif not any(name in asked.answer.packages for name in ("tensorflow", *STAND_INS)):
        # An active one is most likely that of aistart itself.
        message = ".venv is" if own else f"none: there is no .venv, and the active {folder} is"
        message += " without TensorFlow"
        yield problem("environment", message, project.setup_command())
    else:
        yield _described(asked)
        yield asked


def _ask(project: Project, folder: Path) -> Environment | Finding:
    python = project.folder / environment_python(folder)
    # No memory is taken from a training that is going on; the log says all it can.
    quiet = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment = {**os.environ, **quiet, "TF_CPP_MIN_LOG_LEVEL": "0"}
    words = [str(python), str(PROBE), project.package]
    done = run(words, LIMIT, project.folder, environment)
    answers = [Answer.from_json(line) for line in done.output.splitlines()]
    if last := next((answer for answer in reversed(answers) if answer), None):
        if last.stage != "end":
            last = replace(last, reason=last.reason or done.trouble)
        return Environment(project, folder, last, done.errors)
    trouble = done.trouble or "it says nothing that is understood"
    message = f"{environment_python(folder)}: {trouble}"
    return problem("environment", message, project.setup_command())


def _described(environment: Environment) -> Finding:
    answer, project = environment.answer, environment.project
    here = f"{environment.folder}, {len(answer.packages)} packages"
    install = environment.install("--no-deps -e .")
    if answer.home is None:
        return warning("environment", f"{here}; the project is not installed in it", install)
    own = project.folder / "src" / project.package
    if Path(answer.home).resolve() != own.resolve():
        message = f"{here}; it imports {project.package} from {answer.home}, not from this project"
        return warning("environment", message, install)
    return ok("environment", here)


def check_versions(environment: Environment) -> Iterator[Finding]:
    """Compare Python and packages with those that the project was tested with."""
    project, answer = environment.project, environment.answer
    if allows(project.pythons, answer.python):
        yield ok(
            "python",
            f"{answer.python} in {environment.folder} (the project needs {project.pythons})",
        )
    else:
        message = f"{answer.python} in {environment.folder}; the project needs {project.pythons}"
        yield problem("python", message, remedy(project, project.pythons))
    if not project.pins:
        fix = project.command("git restore requirements.lock")
        yield warning("packages", "requirements.lock, the tested set, is missing or empty", fix)
        return
    yield from (_version(environment, name) for name in MAIN if name in project.pins)
    if "jax" in answer.packages:
        yield _version(environment, "jax")
    yield _others(environment)


def _version(environment: Environment, name: str) -> Finding:
    project, packages = environment.project, environment.answer.packages
    tested, _ = project.pins.get(name, (set(), False))
    shown = " or ".join(sorted(tested)) or project.range_of(name)
    fix = environment.install(f"{quoted(f'{name}=={min(tested)}')}" if tested else "-e '.[jax]'")
    version = packages.get(name)
    if version is None:
        stand_in = next((other for other in STAND_INS if other in packages), None)
        if name == "tensorflow" and stand_in:
            message = f"{stand_in} {packages[stand_in]} in place of the tested tensorflow {shown}"
            return warning(name, message, fix)
        all_of_it = environment.install("-r requirements.lock")
        return problem(name, f"not installed; tested with {shown}", all_of_it)
    if version in tested:
        return ok(name, f"{version}, as tested")
    if not allows(project.range_of(name), version):
        return problem(name, f"{version}; the project needs {project.range_of(name)}", fix)
    if not tested:
        return ok(name, f"{version}, within {shown}")
    return warning(name, f"{version}; tested with {shown}", fix)


def _others(environment: Environment) -> Finding:
    pins, packages = environment.project.pins, environment.answer.packages
    differing, missing = [], []
    for name, (versions, everywhere) in pins.items():
        if name in packages and packages[name] not in versions and name not in MAIN:
            differing.append(f"{name} {packages[name]} (tested: {' or '.join(sorted(versions))})")
        elif name not in packages and everywhere and name not in MAIN:
            missing.append(name)
    if not differing and not missing:
        return ok("packages", f"all {len(pins)} of requirements.lock as tested")
    message = "; ".join(
        f"{len(names)} {what}: {some(names)}"
        for names, what in ((missing, "missing"), (differing, "of other versions"))
        if names
    )
    return warning("packages", message, environment.install("-r requirements.lock"))
