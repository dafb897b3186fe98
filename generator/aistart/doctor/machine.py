"""Checks of the machine: Python, git, memory, disk and ports."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.processes import run
from aistart.doctor.projects import PYTHON_RANGE, Project
from aistart.versions import is_in_range, parse_release

ROOT = Path("/")
GIB = 2**30
GB = 10**9
# Training with the smallest configuration was measured to take 0.9 GiB, besides what MLflow's
# client takes.
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 2 * GIB, GIB
# An environment takes some 3 GB, and pip needs room to unpack packages.
LITTLE_DISK, TOO_LITTLE_DISK = 5 * GB, GB
OLDEST_GIT = "2.38"  # the first whose merge-tree writes a tree
DESCRIBE_PYTHON = (
    "import sys, importlib.util as u; "
    "print('%d.%d.%d' % sys.version_info[:3], u.find_spec('ensurepip') is not None)"
)


def check_python(project: Project | None) -> Finding:
    """Check the Python that a new environment would be made with."""
    wanted = project.python_range if project else PYTHON_RANGE
    name, (version, has_ensurepip) = next(find_pythons(), ("python3", ("", False)))
    if not version:
        message = f"there is no python3 that works; a project needs {wanted}"
        return problem("python", message, suggest_setup(project, wanted))
    if not is_in_range(version, wanted):
        message = f"{name} is {version}; a project needs {wanted}"
        return warning("python", message, suggest_setup(project, wanted))
    message = f"{name} is {version} (a project needs {wanted})"
    if has_ensurepip:
        return ok("python", message)
    fix = "sudo apt-get install python3-venv" if shutil.which("apt-get") else None
    return problem("python", f"{message}, but it cannot make environments: no ensurepip", fix)


def suggest_setup(project: Project | None, python_range: str) -> str:
    """Return the command that makes an environment with a suitable Python.

    Args:
        project: to make it for; None: any.
        python_range: the versions that are suitable.
    """
    pythons = find_pythons()
    suitable = next((name for name, (v, _) in pythons if is_in_range(v, python_range)), None)
    # The newest that has packages; if none is in the range, any shows how.
    newest = next((v for v in ("3.13", "3.12", "3.11") if is_in_range(v, python_range)), "3.13")
    if project is None:
        return f"{suitable} -m venv .venv" if suitable else f"uv python install {newest}"
    if suitable:
        return project.setup_command(suitable)
    return f"uv python install {newest} && {project.setup_command(f'$(uv python find {newest})')}"


def find_pythons() -> Iterator[tuple[str, tuple[str, bool]]]:
    """Yield the name of each Python that works, with its version and whether it has ensurepip."""
    for name in ("python3", "python", "python3.13", "python3.12", "python3.11"):
        if path := shutil.which(name):
            result = run([path, "-c", DESCRIBE_PYTHON])
            words = result.output.split()
            if result.failure is None and len(words) == 2:
                yield name, (words[0], words[1] == "True")


def check_git(folder: Path) -> Finding:
    """Check git, and whether it knows the author of commits in ``folder``."""
    installs = {"darwin": "xcode-select --install", "win32": "winget install Git.Git"}
    install = installs.get(sys.platform, "sudo apt-get install git")
    if shutil.which("git") is None:
        return problem("git", "not installed", install)
    version = run(["git", "--version"])
    if version.failure:
        return problem("git", f"it does not work: {version.failure}", install)
    name = version.output.strip().removeprefix("git version ")
    if parse_release(name) < parse_release(OLDEST_GIT):
        message = f"{name}; `aistart update` needs {OLDEST_GIT}"
        return warning("git", message, install)
    # Without this option, git makes up an address from the names of the user and the machine.
    own_options = ["-c", "user.useConfigOnly=true"]
    identity = run(["git", *own_options, "var", "GIT_AUTHOR_IDENT"], folder=folder)
    if identity.failure:
        fix = (
            "git config --global user.name 'YOUR NAME' && "
            "git config --global user.email YOU@EXAMPLE.COM"
        )
        return warning("git", f"{name}; it does not know who you are, so cannot commit", fix)
    return ok("git", f"{name}; commits are by {identity.output.rpartition(' <')[0]}")


def read_total_memory() -> int | None:
    """Return the bytes of memory that programs may have here; None: it is not known."""
    if sys.platform == "win32":
        return None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _find_group_limit()
    return min(total, limit[0]) if limit else total


def check_memory() -> Finding:
    """Check the available memory, within the limit of a container."""
    if sys.platform == "win32":
        return ok("memory", "not checked on Windows")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = _read_available_memory()
    limit = _find_group_limit()
    share = f"of {total / GIB:.1f} GiB"
    if limit and limit[0] < total:
        available = min(available or limit[1], limit[1])
        share = f"of {limit[0] / GIB:.1f} GiB, the limit of this container or group"
    if available is None:
        return ok("memory", f"{total / GIB:.1f} GiB")
    message = f"{available / GIB:.1f} GiB available {share}"
    if available >= LITTLE_MEMORY:
        return ok("memory", message)
    fix = "ps aux --sort=-rss | head" if sys.platform == "linux" else "top -o mem"
    make = problem if available < TOO_LITTLE_MEMORY else warning
    message += "; the smallest training takes 1 GiB; what uses it now:"
    return make("memory", message, fix)


def _read_available_memory() -> int | None:
    for line in _read(ROOT / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _find_group_limit() -> tuple[int, int] | None:
    """Return the tightest memory limit of the process's control groups, and what is left of it."""
    limits = []
    for line in _read(ROOT / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds in ("", "memory"):
            groups = ROOT / "sys/fs/cgroup" / kinds
            names = {
                "": ("memory.max", "memory.current", "inactive_file"),
                "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            }[kinds]
            relative = Path(path.lstrip("/"))
            # In a container the tree begins with its own group, whatever its path is outside.
            for folder in (relative, *relative.parents):
                if limit := _read_group_limit(groups / folder, *names):
                    limits.append(limit)
    return min(limits, key=lambda limit: limit[1], default=None)


def _read_group_limit(
    group: Path, limit_file: str, usage_file: str, reclaimable: str
) -> tuple[int, int] | None:
    try:
        limit, usage = int(_read(group / limit_file)), int(_read(group / usage_file))
    except ValueError:  # no such group, or "max"
        return None
    # The usage includes cached files, which make room when memory is needed.
    stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
    return limit, max(0, limit - usage + int(stat.get(reclaimable, 0)))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def check_disk(folder: Path, fix: str | None = None) -> Finding:
    """Check the free space of the disk.

    Args:
        folder: on the disk.
        fix: a command that frees space, if there is one.
    """
    free = shutil.disk_usage(folder).free
    message = f"{free / GB:.1f} GB free"
    if free >= LITTLE_DISK:
        return ok("disk", message)
    if free < TOO_LITTLE_DISK:
        return problem("disk", f"{message}, less than {TOO_LITTLE_DISK / GB:.0f} GB", fix)
    message += f"; an environment and some runs need {LITTLE_DISK / GB:.0f} GB"
    return warning("disk", message, fix)


def is_port_free(port: int) -> bool:
    """Whether a server could listen at a port of this machine."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def next_free_port(port: int) -> int | None:
    """Return the first free port above ``port``, or None if there is none among the next 99."""
    return next((other for other in range(port + 1, port + 100) if is_port_free(other)), None)
