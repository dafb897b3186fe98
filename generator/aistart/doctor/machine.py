"""The machine: Python, git, memory, disk and ports."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.processes import run
from aistart.doctor.projects import PYTHONS, Project, allows

ROOT = Path("/")
GIB = 2**30
GB = 10**9
# Training the smallest configuration was measured to take 0.9 GiB, beside the sending to MLflow.
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 2 * GIB, GIB
# An environment takes some 3 GB, and pip needs room for what it unpacks.
LITTLE_DISK, TOO_LITTLE_DISK = 5 * GB, GB
DESCRIBE_PYTHON = (
    "import sys, importlib.util as u; "
    "print('%d.%d.%d' % sys.version_info[:3], u.find_spec('ensurepip') is not None)"
)


def check_python(project: Project | None) -> Finding:
    """The Python that an environment would be made with."""
    wanted = project.pythons if project else PYTHONS
    name, (version, complete) = next(_pythons(), ("python3", ("", False)))
    if not version:
        message = f"there is no python3 that works; a project needs {wanted}"
        return problem("python", message, remedy(project, wanted))
    if not allows(wanted, version):
        message = f"{name} is {version}; a project needs {wanted}"
        return warning("python", message, remedy(project, wanted))
    message = f"{name} is {version} (a project needs {wanted})"
    if complete:
        return ok("python", message)
    fix = "sudo apt-get install python3-venv" if shutil.which("apt-get") else None
    return problem("python", f"{message}, but it cannot make environments: no ensurepip", fix)


def remedy(project: Project | None, wanted: str) -> str:
    """The command that makes an environment with a Python that will do."""
    good = next((name for name, (version, _) in _pythons() if allows(wanted, version)), None)
    if project is None:
        return f"{good} -m venv .venv" if good else "uv python install 3.13"
    if good:
        return project.setup_command(good)
    return f"uv python install 3.13 && {project.setup_command('$(uv python find 3.13)')}"


def _pythons() -> Iterator[tuple[str, tuple[str, bool]]]:
    for name in ("python3", "python", "python3.13", "python3.12", "python3.11"):
        if path := shutil.which(name):
            done = run([path, "-c", DESCRIBE_PYTHON])
            words = done.output.split()
            if done.trouble is None and len(words) == 2:
                yield name, (words[0], words[1] == "True")


def check_git(folder: Path) -> Finding:
    """git, and whether commits have an author."""
    installs = {"darwin": "xcode-select --install", "win32": "winget install Git.Git"}
    install = installs.get(sys.platform, "sudo apt-get install git")
    if shutil.which("git") is None:
        return problem("git", "not installed", install)
    version = run(["git", "--version"])
    if version.trouble:
        return problem("git", f"it does not work: {version.trouble}", install)
    name = version.output.strip().removeprefix("git version ")
    # Without this, git makes up an address from the names of the user and the machine.
    own = ["git", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"]
    identity = run(own, folder=folder)
    if identity.trouble:
        fix = (
            "git config --global user.name 'YOUR NAME' && "
            "git config --global user.email YOU@EXAMPLE.COM"
        )
        return warning("git", f"{name}; it does not know who you are, so cannot commit", fix)
    return ok("git", f"{name}; commits are by {identity.output.rpartition(' <')[0]}")


def check_memory() -> Finding:
    """Memory in all and available, within a container's limit."""
    if sys.platform == "win32":
        return ok("memory", "not looked at on Windows")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = _available()
    limit = _group_limit()
    shown = f"of {total / GIB:.1f} GiB"
    if limit and limit[0] < total:
        available = min(available or limit[1], limit[1])
        shown = f"of {limit[0] / GIB:.1f} GiB, the limit of this container or group"
    if available is None:
        return ok("memory", f"{total / GIB:.1f} GiB")
    message = f"{available / GIB:.1f} GiB available {shown}"
    if available >= LITTLE_MEMORY:
        return ok("memory", message)
    fix = "ps aux --sort=-rss | head" if sys.platform == "linux" else "top -o mem"
    make = problem if available < TOO_LITTLE_MEMORY else warning
    return make("memory", f"{message}; the smallest training takes 1 GiB; what takes it:", fix)


def _available() -> int | None:
    for line in _read(ROOT / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group_limit() -> tuple[int, int] | None:
    """The least memory that a control group allows, and what is left of it."""
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
            # A container's own group is where the tree begins, whatever its path outside.
            for folder in (relative, *relative.parents):
                if limit := _limit_of(groups / folder, *names):
                    limits.append(limit)
    return min(limits, key=lambda limit: limit[1], default=None)


def _limit_of(group: Path, limit: str, used: str, reclaimable: str) -> tuple[int, int] | None:
    try:
        most, now = int(_read(group / limit)), int(_read(group / used))
    except ValueError:  # no such group, or "max"
        return None
    # Files that were read are counted as used, and make room when it is needed.
    stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
    return most, max(0, most - now + int(stat.get(reclaimable, 0)))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def check_disk(folder: Path, fix: str | None = None) -> Finding:
    """Room where the project is.

    Args:
        fix: a command that makes room, if there is one.
    """
    free = shutil.disk_usage(folder).free
    message = f"{free / GB:.1f} GB free"
    if free >= LITTLE_DISK:
        return ok("disk", message)
    if free < TOO_LITTLE_DISK:
        return problem("disk", f"{message}, less than {TOO_LITTLE_DISK / GB:.0f} GB", fix)
    message += f"; an environment and some runs need {LITTLE_DISK / GB:.0f} GB"
    return warning("disk", message, fix)


def port_is_free(port: int) -> bool:
    """Whether a server could listen at a port of this machine."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def next_free(port: int) -> int | None:
    """The first free port after one."""
    return next((other for other in range(port + 1, port + 100) if port_is_free(other)), None)
