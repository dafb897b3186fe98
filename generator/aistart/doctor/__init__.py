"""``aistart doctor``: what of a machine and a project is as it must be, and what is not.

``machine`` and ``drivers`` look at the machine; ``probe`` runs in the project's own Python, since
only that one has the framework, and ``environment``, ``devices`` and ``tracking`` judge its answer.
"""

from collections.abc import Iterator
from pathlib import Path

from aistart.answers_file import PLACE
from aistart.doctor import devices, drivers, machine, tracking
from aistart.doctor.environment import Environment, check_versions, find_environment
from aistart.doctor.findings import Finding, ok, problem, report
from aistart.doctor.projects import Project, Unreadable, find_project
from aistart.shell import quoted

__all__ = ["examine", "report"]


def examine(named: Path | None) -> Iterator[Finding]:
    """Check the machine, and the project if there is one; the slow checks come last.

    Args:
        named: the project's folder; None: the one that this folder is in, if any.

    Raises:
        UsageProblem: the folder that is named is no project.
    """
    return _findings(find_project(named))


def _findings(folder: Path | None) -> Iterator[Finding]:
    if folder is None:
        yield ok("project", "none in this folder: only this machine is checked")
        yield from _machine(Path.cwd())
        return
    try:
        project = Project.read(folder)
    except Unreadable as error:
        fix = quoted("git", "-C", str(folder), "restore", PLACE.as_posix())
        message = f"{PLACE.as_posix()}: {error}; only this machine is checked"
        yield problem("project", message, fix)
        yield from _machine(folder)
        return
    made = f"made from {project.template} by aistart {project.aistart}"
    yield ok("project", f"{project.package}, {made}")
    yield from _project(project)


def _machine(folder: Path) -> Iterator[Finding]:
    yield machine.check_python(None)
    yield machine.check_git(folder)
    yield machine.check_memory()
    yield machine.check_disk(folder)
    yield from devices.check_driver_alone(drivers.look())
    if store := tracking.find_store(None, None):
        yield tracking.check_tracking(store, None, None)


def _project(project: Project) -> Iterator[Finding]:
    yield machine.check_git(project.folder)
    yield machine.check_memory()
    environment: Environment | None = None
    for found in find_environment(project):
        if isinstance(found, Finding):
            yield found
        else:
            environment = found
    if environment:
        yield from check_versions(environment)
        yield from devices.check_devices(environment, drivers.look())
    else:
        yield machine.check_python(project)
        yield from devices.check_driver_alone(drivers.look())
    prune = environment.module("runs prune --keep 5") if environment else None
    yield machine.check_disk(project.folder, prune)
    yield tracking.check_port(project, environment)
    plan = environment.answer.plan if environment else None
    if store := tracking.find_store(project, plan):
        yield tracking.check_tracking(store, project, environment)
