"""Checks of what a team's profile needs: of this machine, and of a project."""

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aistart import __version__
from aistart.catalog import find_templates
from aistart.doctor import drivers, machine, tracking
from aistart.doctor.environment import Environment
from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.projects import Project
from aistart.errors import AistartError, UsageProblem
from aistart.profile import load, team
from aistart.profile.content import Content, MachineNeeds
from aistart.profile.reference import Reference, fetch, parse_reference, sha256_of
from aistart.shell import join_command
from aistart.versions import is_in_range, parse_release

MIB_PER_GIB = 1024
SIZE_TOLERANCE = 0.95  # of 16 GiB, the firmware and the driver keep some for themselves
# Programs that a feature's commands call; one of each line's will do.
TOOLS = {
    "docker": ("docker", "podman"),
    "compose": ("docker", "podman"),
    "kubernetes": ("kubectl",),
}


@dataclass(frozen=True)
class TeamNeeds:
    """A team's profile, and the finding about itself.

    Attributes:
        content: its values.
        finding: whether it is in use here, and up to date.
        is_signed_off: whether the user knows it; the server that it names may get credentials.
    """

    content: Content
    finding: Finding
    is_signed_off: bool


def find_needs(named: str | None) -> TeamNeeds | None:
    """Return the profile to check.

    Args:
        named: the value of ``--team``; None: the one that is in use, from its copy.

    Raises:
        UsageProblem: the profile that is named is not allowed.
        AistartError: it cannot be reached, and there is no copy.
    """
    if named is not None:
        return _read_named(parse_reference(named))
    in_use = team.find()
    if in_use is None:
        return None
    when = f"signed off {in_use.date}" if in_use.sha256 else "a file of this machine"
    try:
        content = load(in_use.read(), in_use.reference)
    except UsageProblem as error:
        return _report_broken(in_use, error)
    return TeamNeeds(content, ok("profile", f"{in_use.address}, {when}"), is_signed_off=True)


def _report_broken(in_use: team.TeamProfile, error: UsageProblem) -> TeamNeeds:
    """Report a profile in use that cannot be read, so that nothing of it is checked."""
    verb = "update" if in_use.sha256 else "leave"
    message = error.message.removeprefix("profile: ").partition("; `aistart")[0].removesuffix(".")
    finding = problem("profile", message, join_command("aistart", "profile", verb))
    return TeamNeeds(Content(), finding, is_signed_off=True)


def _read_named(reference: Reference) -> TeamNeeds:
    in_use = team.find()
    if in_use is None or in_use.address != reference.absolute:
        content = load(fetch(reference), reference)
        fix = join_command("aistart", "profile", "use", reference.address)
        message = f"{reference.address}: it is not in use here"
        known = not reference.is_remote or reference.sha256 is not None
        return TeamNeeds(content, warning("profile", message, fix), is_signed_off=known)
    if in_use.sha256 is None:
        content = load(fetch(reference), reference)
        return TeamNeeds(content, ok("profile", f"{in_use.address}, in use"), is_signed_off=True)
    return _compare_with_copy(in_use, reference)


def _compare_with_copy(in_use: team.TeamProfile, reference: Reference) -> TeamNeeds:
    """Check the copy of a profile in use, and say whether it has changed where it comes from."""
    try:
        content = load(in_use.read(), in_use.reference)
    except UsageProblem as error:
        return _report_broken(in_use, error)
    when = f"signed off {in_use.date}"
    finding = ok("profile", f"{in_use.address}, {when}")
    try:
        if sha256_of(fetch(reference)) != in_use.sha256:
            message = f"{in_use.address} has changed since it was {when}; that copy is checked"
            finding = warning("profile", message, "aistart profile update")
    except UsageProblem:
        raise
    except AistartError as error:
        reason = error.message.removeprefix("profile: ").removesuffix(".")
        finding = warning("profile", f"{reason}; the copy that was {when} is checked")
    return TeamNeeds(content, finding, is_signed_off=True)


def check_team(
    needs: TeamNeeds, folder: Path, project: Project | None, environment: Environment | None
) -> Iterator[Finding]:
    """Check what the profile needs.

    Args:
        needs: the profile's.
        folder: on the disk that is used.
        project: None: only the machine is checked.
        environment: the project's, if it works.
    """
    content = needs.content
    yield needs.finding
    if wanted := content.machine.aistart:
        yield _check_aistart(wanted)
    if wanted := content.machine.python:
        yield _check_python(wanted, project, environment)
    yield from _check_accelerators(content.machine)
    yield from _check_sizes(content.machine, folder)
    if server := content.answers.get("tracking_uri"):
        yield _check_server(server, needs.is_signed_off, project, environment)
    if content.required and project:
        yield _check_features(content.required, project)
    features = {*content.required, *(project.features if project else ())}
    yield from _check_tools(features)


def _check_aistart(wanted: str) -> Finding:
    if is_in_range(__version__, wanted):
        return ok("aistart", f"{__version__} (the team needs {wanted})")
    fix = join_command("pip", "install", "--upgrade", f"aistart{wanted.replace(' ', '')}")
    return problem("aistart", f"{__version__}; the team needs {wanted}", fix)


def _check_python(wanted: str, project: Project | None, environment: Environment | None) -> Finding:
    check = "team python"
    if environment:
        version, place = environment.probe.python, f" in {environment.folder}"
    else:
        pythons = machine.find_pythons()
        suitable = (version for _, (version, _) in pythons if is_in_range(version, wanted))
        version, place = next(suitable, ""), ""
    if version and is_in_range(version, wanted):
        return ok(check, f"{version}{place} (the team needs {wanted})")
    message = f"{version}{place}; the team needs {wanted}" if version else f"no Python {wanted}"
    return problem(check, message, machine.suggest_setup(project, wanted))


# === GPUs, memory, disk ===


def _check_accelerators(needs: MachineNeeds) -> Iterator[Finding]:
    if needs.driver is None and needs.gpu_memory_gib is None:
        return
    driver = drivers.detect()
    if failure := drivers.check_driver(driver):
        yield replace(failure, check="team driver")
        return
    if needs.driver:
        yield _check_driver(needs.driver, driver)
    if needs.gpu_memory_gib:
        yield _check_gpu_memory(needs.gpu_memory_gib, driver)


def _check_driver(oldest: str, driver: drivers.Driver) -> Finding:
    check, fix = "team driver", drivers.install_command()
    if driver.version is None:
        return problem(check, f"none of NVIDIA's; the team needs {oldest} or newer", fix)
    if parse_release(driver.version) < parse_release(oldest):
        return problem(check, f"{driver.version}; the team needs {oldest} or newer", fix)
    return ok(check, f"{driver.version} (the team needs {oldest} or newer)")


def _check_gpu_memory(least: float, driver: drivers.Driver) -> Finding:
    check = "team gpu"
    sizes = [
        float(match[1]) for gpu in driver.gpus if (match := re.match(r"(\d+) MiB", gpu.memory))
    ]
    if not sizes:
        list_gpus = "nvidia-smi" if shutil.which("nvidia-smi") else None
        return problem(check, f"none; the team needs one with {least:g} GiB", list_gpus)
    largest = max(sizes) / MIB_PER_GIB
    if largest < least * SIZE_TOLERANCE:
        return problem(check, f"{largest:.1f} GiB; the team needs {least:g} GiB", "nvidia-smi")
    return ok(check, f"{largest:.1f} GiB (the team needs {least:g} GiB)")


def _check_sizes(needs: MachineNeeds, folder: Path) -> Iterator[Finding]:
    if least := needs.memory_gib:
        total = (machine.read_total_memory() or 0) / machine.GIB
        sizes = f"{total:.1f} GiB"
        if not total:
            yield ok("team memory", f"not checked here (the team needs {least:g} GiB)")
        elif total < least * SIZE_TOLERANCE:
            yield problem("team memory", f"{sizes} in all; the team needs {least:g} GiB")
        else:
            yield ok("team memory", f"{sizes} in all (the team needs {least:g} GiB)")
    if least := needs.disk_gb:
        free = shutil.disk_usage(folder).free / machine.GB
        if free < least:
            message = f"{free:.1f} GB free; the team needs {least:g} GB. What takes most:"
            fix = join_command("du", "-xh", "-d", "1", str(Path.home()))
            yield problem("team disk", message, None if sys.platform == "win32" else fix)
        else:
            yield ok("team disk", f"{free:.1f} GB free (the team needs {least:g} GB)")


# === The server, features and their tools ===


def _check_server(
    uri: str, is_signed_off: bool, project: Project | None, environment: Environment | None
) -> Finding:
    store = tracking.Store(uri, gets_credentials=is_signed_off)
    finding = replace(tracking.check_tracking(store, project, environment), check="team server")
    if finding.status == "problem" and finding.fix is None:
        message, _, _ = finding.message.partition(f"; {tracking.RECORDING_FALLBACK}")
        fix = join_command("curl", "-sS", f"{store.safe_uri.rstrip('/')}/health")
        return replace(finding, message=f"{message}; to try it:", fix=fix)
    if finding.status == "ok" and project and project.tracking_uri != uri:
        own = project.tracking_uri or "a file of its own"
        fix = _update_command(project, "--set", f"tracking_uri={uri}")
        return warning("team server", f"{finding.message}; the project records to {own}", fix)
    return finding


def _check_features(required: tuple[str, ...], project: Project) -> Finding:
    template = find_templates().get(project.template)
    offered = required if template is None else [n for n in required if n in template.features]
    missing = [name for name in offered if name not in project.features]
    if not missing:
        names = ", ".join(offered) or "none of those that the team requires exists here"
        return ok("features", f"{names} (required by the team)")
    options = [] if project.display_path == "." else ["-C", project.display_path]
    fix = join_command("aistart", "add", *missing, *options)
    return problem("features", f"the team requires {', '.join(missing)}", fix)


def _update_command(project: Project, *options: str) -> str:
    folder = [] if project.display_path == "." else [project.display_path]
    return join_command("aistart", "update", *folder, *options)


def _check_tools(features: set[str]) -> Iterator[Finding]:
    by_programs: dict[tuple[str, ...], list[str]] = {}
    for feature, programs in TOOLS.items():
        if feature in features:
            by_programs.setdefault(programs, []).append(feature)
    for programs, users in by_programs.items():
        found = next((name for name in programs if shutil.which(name)), None)
        reason = f"for {', '.join(users)}"
        if found:
            yield ok(found, f"found, {reason}")
        else:
            yield warning(programs[0], f"not installed; {reason}", _install_tool(programs[0]))


def _install_tool(name: str) -> str | None:
    if shutil.which("brew"):
        return f"brew install {name}"
    if name == "docker" and shutil.which("apt-get"):
        return "sudo apt-get install docker.io"
    return "sudo snap install kubectl --classic" if shutil.which("snap") else None
