"""The project's virtual environment: where it is, and whether it has the tested packages."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.machine import suggest_setup
from aistart.doctor.processes import run
from aistart.doctor.projects import VENV, Project, environment_python
from aistart.layout import abbreviate
from aistart.shell import join_command
from aistart.versions import is_in_range

PROBE = Path(__file__).with_name("probe.py")
LIMIT = 120.0  # seconds for the probe; TensorFlow takes ten to start on two slow cores
MAIN_PACKAGES = ("tensorflow", "keras", "mlflow")  # each gets a line of its own
# Distributions of other names that install the module ``tensorflow``.
TENSORFLOW_VARIANTS = (
    *("tensorflow-cpu", "tensorflow-intel"),
    *("tensorflow-macos", "tensorflow-rocm"),
)


@dataclass(frozen=True)
class FrameworkDevices:
    """The GPUs that TensorFlow sees, and what it needs for them.

    Attributes:
        gpus: how many it sees.
        cuda: the version of CUDA that it was built for; None: it is a build for CPUs only.
        missing: packages with CUDA's libraries that it requires and that are not installed.
    """

    gpus: int
    cuda: str | None
    missing: list[str]


@dataclass(frozen=True)
class Plan:
    """What ``train`` would do with the project's configuration on this machine.

    Attributes:
        backend: Keras's backend.
        requested_strategy: the configured strategy, for example ``auto``.
        strategy: the strategy that results from it.
        replicas: how many of the model train together.
        why: the reason for the strategy, in words.
        batch_size: the configured one, in examples on all devices.
        tracking: whether runs are recorded.
        tracking_uri: where; None: in the project's own store.
        jax_platform: the platform of JAX's devices; None: the backend is another.
        jax_devices: how many local devices JAX has.
    """

    backend: str
    requested_strategy: str
    strategy: str
    replicas: int
    why: str
    batch_size: int
    tracking: bool
    tracking_uri: str | None
    jax_platform: str | None
    jax_devices: int


@dataclass(frozen=True)
class ProbeResult:
    """What ``probe`` reported from the project's Python.

    Attributes:
        python: its version.
        packages: installed packages with their versions.
        home: the folder from which it imports the project's package; None: it does not.
        stage: the step that it reached: ``tensorflow``, ``project`` or ``end``.
        reason: why it got no further.
        devices: None: TensorFlow did not start.
        plan: None: the project's code did not start.
    """

    python: str
    packages: dict[str, str]
    home: str | None
    stage: str
    reason: str | None
    devices: FrameworkDevices | None
    plan: Plan | None

    @classmethod
    def from_json(cls, line: str) -> "ProbeResult | None":
        """Parse a line of the probe's output; None if it is something else."""
        try:
            raw: dict[str, Any] = json.loads(line)
            devices, plan = raw.pop("devices"), raw.pop("plan")
            raw["packages"] = dict(raw["packages"])
            return cls(
                **raw,
                devices=None if devices is None else FrameworkDevices(**devices),
                plan=None if plan is None else Plan(**plan),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Environment:
    """A virtual environment of a project.

    Attributes:
        project: the project.
        folder: relative to the project's folder, or absolute.
        probe: what the environment's Python reported.
        log: what the framework wrote to standard error while it looked for devices.
    """

    project: Project
    folder: Path
    probe: ProbeResult
    log: str = ""

    @property
    def python(self) -> str:
        """Its Python, as a word of a shell in the project's folder."""
        return join_command(str(environment_python(self.folder)))

    def pip_command(self, verb: str, arguments: str) -> str:
        """Return a command of pip, or of what there is in its place.

        Args:
            verb: ``install`` or ``uninstall``.
            arguments: packages and options, quoted for the shell.
        """
        if "pip" in self.probe.packages:
            pip = f"{self.python} -m pip {verb}"
        elif shutil.which("uv"):  # its environments have no pip of their own
            pip = f"uv pip {verb} --python {self.python}"
        else:
            pip = f"python3 -m pip --python {self.python} {verb}"
        return self.project.command(f"{pip} {arguments}")

    def install_command(self, arguments: str) -> str:
        """Return the command that installs packages (see ``pip_command``)."""
        return self.pip_command("install", arguments)

    def package_command(self, words: str) -> str:
        """Return the words that run one of the commands of the project's package."""
        return self.project.command(f"{self.python} -m {self.project.package} {words}")


def find_environment(project: Project) -> Iterator[Finding | Environment]:
    """Find the project's environment and probe it.

    Yields:
        findings, and the environment, if there is one that works.
    """
    active = os.environ.get("VIRTUAL_ENV")
    has_own = os.path.lexists(project.folder / VENV)
    if not has_own and not active:
        yield problem("environment", "none: there is no .venv", project.setup_command())
        return
    folder = VENV if has_own else Path(str(active))
    result = _run_probe(project, folder)
    if isinstance(result, Finding):
        yield result
    elif not any(name in result.probe.packages for name in ("tensorflow", *TENSORFLOW_VARIANTS)):
        # An active environment is most likely that of aistart itself.
        message = ".venv is" if has_own else f"none: there is no .venv, and the active {folder} is"
        message += " without TensorFlow"
        yield problem("environment", message, project.setup_command())
    else:
        yield _check_installation(result)
        yield result


def _run_probe(project: Project, folder: Path) -> Environment | Finding:
    python = project.folder / environment_python(folder)
    # Take no memory away from a training that is running, and log as much as possible.
    small_memory = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    variables = {**os.environ, **small_memory, "TF_CPP_MIN_LOG_LEVEL": "0"}
    words = [str(python), str(PROBE), project.package]
    result = run(words, LIMIT, project.folder, variables)
    reports = [ProbeResult.from_json(line) for line in result.output.splitlines()]
    if last := next((report for report in reversed(reports) if report), None):
        if last.stage != "end":
            last = replace(last, reason=last.reason or result.failure)
        return Environment(project, folder, last, result.errors)
    failure = result.failure or "its output is not understood"
    message = f"{environment_python(folder)}: {failure}"
    return problem("environment", message, project.setup_command())


def _check_installation(environment: Environment) -> Finding:
    """Check that the environment imports the project's package from the project itself."""
    probe, project = environment.probe, environment.project
    summary = f"{environment.folder}, {len(probe.packages)} packages"
    install = environment.install_command("--no-deps -e .")
    if probe.home is None:
        return warning("environment", f"{summary}; the project is not installed in it", install)
    own = project.folder / "src" / project.package
    if Path(probe.home).resolve() != own.resolve():
        imports = f"it imports {project.package} from {probe.home}, not from this project"
        return warning("environment", f"{summary}; {imports}", install)
    return ok("environment", summary)


def check_versions(environment: Environment) -> Iterator[Finding]:
    """Compare Python and the packages with those that the project was tested with."""
    project, probe = environment.project, environment.probe
    wanted = project.python_range
    if is_in_range(probe.python, wanted):
        message = f"{probe.python} in {environment.folder} (the project needs {wanted})"
        yield ok("python", message)
    else:
        message = f"{probe.python} in {environment.folder}; the project needs {wanted}"
        yield problem("python", message, suggest_setup(project, wanted))
    if not project.pins:
        fix = project.command("git restore requirements.lock")
        yield warning("packages", "requirements.lock, the tested set, is missing or empty", fix)
        return
    yield from (_check_version(environment, name) for name in MAIN_PACKAGES if name in project.pins)
    if "jax" in probe.packages:
        yield _check_version(environment, "jax")
    yield _check_other_packages(environment)


def _check_version(environment: Environment, name: str) -> Finding:
    project, packages = environment.project, environment.probe.packages
    tested, _ = project.pins.get(name, (set(), False))
    wanted = " or ".join(sorted(tested)) or project.version_range(name)
    requirement = join_command(f"{name}=={min(tested)}") if tested else "-e '.[jax]'"
    fix = environment.install_command(requirement)
    version = packages.get(name)
    if version is None:
        variant = next((other for other in TENSORFLOW_VARIANTS if other in packages), None)
        if name == "tensorflow" and variant:
            message = f"{variant} {packages[variant]} in place of the tested tensorflow {wanted}"
            return warning(name, message, fix)
        install_all = environment.install_command("-r requirements.lock")
        return problem(name, f"not installed; tested with {wanted}", install_all)
    if version in tested:
        return ok(name, f"{version}, as tested")
    if not is_in_range(version, project.version_range(name)):
        return problem(name, f"{version}; the project needs {project.version_range(name)}", fix)
    if not tested:
        return ok(name, f"{version}, within {wanted}")
    return warning(name, f"{version}; tested with {wanted}", fix)


def _check_other_packages(environment: Environment) -> Finding:
    pins, packages = environment.project.pins, environment.probe.packages
    different, missing = [], []
    for name, (versions, everywhere) in pins.items():
        if name in packages and packages[name] not in versions and name not in MAIN_PACKAGES:
            different.append(f"{name} {packages[name]} (tested: {' or '.join(sorted(versions))})")
        elif name not in packages and everywhere and name not in MAIN_PACKAGES:
            missing.append(name)
    if not different and not missing:
        return ok("packages", f"all {len(pins)} of requirements.lock as tested")
    message = "; ".join(
        f"{len(names)} {label}: {abbreviate(names)}"
        for names, label in ((missing, "missing"), (different, "of other versions"))
        if names
    )
    return warning("packages", message, environment.install_command("-r requirements.lock"))
