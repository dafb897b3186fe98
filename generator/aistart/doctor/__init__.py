"""``aistart doctor``: checks whether a machine and a project are ready for training.

``machine`` and ``drivers`` check the machine. ``probe`` runs in the project's own Python, because
only that one has the framework; ``environment``, ``devices`` and ``tracking`` judge its result.
``team`` checks what a team's profile needs.
"""

from collections.abc import Iterator
from pathlib import Path

from aistart.answers_file import ANSWERS_PATH
from aistart.doctor import devices, drivers, machine, team, tracking
from aistart.doctor.environment import Environment, check_versions, find_environment
from aistart.doctor.findings import Finding, ok, print_report, problem
from aistart.doctor.projects import ForeignProject, InvalidProject, Project, find_project
from aistart.shell import join_command

__all__ = ["examine", "print_report"]


def examine(folder: Path | None, profile: str | None = None) -> Iterator[Finding]:
    """Check the machine, and the project if there is one; the slow checks come last.

    Args:
        folder: the project's folder; None: the project around the current folder, if any.
        profile: the team's, to check as well; None: the one in use, if there is one.

    Raises:
        UsageProblem: ``folder`` is not a project, or the profile is not allowed.
        AistartError: the profile cannot be reached.
    """
    return _check_all(find_project(folder), team.find_needs(profile))


def _check_all(folder: Path | None, needs: team.TeamNeeds | None) -> Iterator[Finding]:
    if folder is None:
        yield ok("project", "none in this folder: only this machine is checked")
        yield from _check_machine(Path.cwd(), needs)
        return
    try:
        project = Project.read(folder)
    except ForeignProject as error:
        yield ok(
            "project", f"made from {error}, not of aistart's kind: only this machine is checked"
        )
        yield from _check_machine(folder, needs)
        return
    except InvalidProject as error:
        fix = join_command("git", "-C", str(folder), "restore", ANSWERS_PATH.as_posix())
        message = f"{ANSWERS_PATH.as_posix()}: {error}; only this machine is checked"
        yield problem("project", message, fix)
        yield from _check_machine(folder, needs)
        return
    origin = f"made from {project.template} by aistart {project.aistart}"
    yield ok("project", f"{project.package}, {origin}")
    yield from _check_project(project, needs)


def _check_machine(folder: Path, needs: team.TeamNeeds | None) -> Iterator[Finding]:
    yield machine.check_python(None)
    yield machine.check_git(folder)
    yield machine.check_memory()
    yield machine.check_disk(folder)
    yield from devices.check_driver_only(drivers.detect())
    if store := tracking.find_store(None, None):
        yield tracking.check_tracking(store, None, None)
    if needs:
        yield from team.check_team(needs, folder, None, None)


def _check_project(project: Project, needs: team.TeamNeeds | None) -> Iterator[Finding]:
    yield machine.check_git(project.folder)
    yield machine.check_memory()
    environment: Environment | None = None
    for result in find_environment(project):
        if isinstance(result, Finding):
            yield result
        else:
            environment = result
    if environment:
        yield from check_versions(environment)
        yield from devices.check_devices(environment, drivers.detect())
    else:
        yield machine.check_python(project)
        yield from devices.check_driver_only(drivers.detect())
    prune = environment.package_command("runs prune --keep 5") if environment else None
    yield machine.check_disk(project.folder, prune)
    yield tracking.check_port(project, environment)
    plan = environment.probe.plan if environment else None
    if store := tracking.find_store(project, plan):
        yield tracking.check_tracking(store, project, environment)
    if needs:
        yield from team.check_team(needs, project.folder, project, environment)
