"""Podman and buildah where there is no Docker, as root in a sandbox, for the tests of images.

Registries of images are not asked: the base images are made of Debian's packages, and stand under
the names that the Dockerfiles have.
"""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.environments import podman_compose

PROGRAMS = ("podman", "buildah", "crun", "mmdebstrap", "unshare", "nsenter")
# More of either is not allowed in a sandbox.
LIMITS = 'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]'
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
PYTHON_PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
POSTGRES = "docker.io/library/postgres:17-bookworm"
# What the entry point of PostgreSQL's image does, in short.
POSTGRES_ENTRY = """\
#!/bin/sh
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --clear-groups "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth scram-sha-256 --encoding UTF8
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl start -w -o "-c listen_addresses= -c unix_socket_directories=/tmp"
    PGPASSWORD=$POSTGRES_PASSWORD createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl stop -w
fi
exec postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp
"""
POSTGRES_FILE = """\
FROM {base}
ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data
COPY --chmod=0755 entry /usr/local/bin/entry
ENTRYPOINT ["/usr/local/bin/entry"]
"""


class Engine:
    """Builds and runs images; what it started is gone after ``close``.

    All containers are in one mount namespace, in which cgroups can be written.

    Args:
        folder: for its own files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            pytest.skip(f"images are built as root with {', '.join(missing or PROGRAMS)}")
        settings = folder / "containers.conf"
        settings.write_text(f'[containers]\n{LIMITS}\n[engine]\nruntime = "crun"\n')
        self.environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
        # The second hierarchy of control groups, where there is one, hides the first from crun.
        script = "umount /sys/fs/cgroup/unified 2>/dev/null; echo; exec sleep infinity"
        self._namespace = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE
        )
        assert self._namespace.stdout
        self._namespace.stdout.readline()
        self._mounts = _mount_pip_settings(folder)

    def close(self) -> None:
        """End the namespace; containers are removed by those who started them."""
        self._namespace.send_signal(signal.SIGKILL)
        self._namespace.wait()

    def make_base_images(self) -> None:
        """Make the image on which those of the project are built, unless it is there."""
        self._make_base(PYTHON, PYTHON_PACKAGES)

    def make_postgres(self) -> None:
        """Make an image that stands for PostgreSQL's own, of the version that Debian has."""
        if self._has(POSTGRES):
            return
        self._make_base("localhost/postgres-base", "postgresql")
        context = self.folder / "postgres"
        context.mkdir()
        (context / "entry").write_text(POSTGRES_ENTRY)
        (context / "Dockerfile").write_text(POSTGRES_FILE.format(base="localhost/postgres-base"))
        self.build(context, POSTGRES)

    def build(self, context: Path, tag: str, *words: str) -> None:
        """Build an image, with layers that were built before.

        Args:
            context: the folder with the Dockerfile.
            tag: of the image.
            words: further ones of ``buildah build``.
        """
        command = ["buildah", "bud", "--layers", "--isolation", "chroot", "--network", "host"]
        command += ["--ulimit", "nofile=1024:1024", "--pull-never", "--format", "docker"]
        command += ["--tag", tag, *self._mounts, *words, "."]
        done = subprocess.run(
            command, cwd=context, capture_output=True, text=True, env=self.environment
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]

    def run(self, *words: str, check: bool = True) -> str:
        """Run podman and return what it printed."""
        done = self.call("podman", *words)
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return done.stdout.strip()

    def compose(self, folder: Path, *words: str) -> str:
        """Run podman-compose in a folder and return what it printed."""
        done = self.call(str(podman_compose()), *words, cwd=folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return done.stdout + done.stderr

    def call(self, *command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a program in the namespace of the containers."""
        where = str(cwd or self.folder)
        entered = ["nsenter", "--target", str(self._namespace.pid), "--mount", f"--wd={where}"]
        return subprocess.run(
            [*entered, *command], capture_output=True, text=True, env=self.environment
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows of a container or an image."""
        return json.loads(self.run("inspect", name))[0]

    def is_healthy(self, container: str) -> bool:
        """Run the image's own check; systemd would do so every few seconds."""
        return self.call("podman", "healthcheck", "run", container).returncode == 0

    def _has(self, image: str) -> bool:
        return self.call("podman", "image", "exists", image).returncode == 0

    def _make_base(self, name: str, packages: str) -> None:
        if self._has(name):
            return
        archive = self.folder / "base.tar"
        words = ["--variant=minbase", f"--include={packages}", "bookworm", str(archive)]
        subprocess.run(["mmdebstrap", "--quiet", *words], check=True)
        self.run("import", "--quiet", str(archive), name)
        archive.unlink()


def _mount_pip_settings(folder: Path) -> list[str]:
    """Return words that give a build what this machine's pip is set up with."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = {}
    for line in listed.splitlines():
        name, value = line.split("=", 1)
        settings[name.split(".")[-1]] = str(ast.literal_eval(value))
    lines = [f"{name} = {' '.join(value.split())}" for name, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines]))
    places = {"/etc/pip.conf": folder / "pip.conf"}
    for prefix, path in re.findall(r"(file://)?(/[^\s']+)", " ".join(settings.values())):
        # The pages of an index name files beside its folder.
        place = Path(path).parent if prefix else Path(path)
        if place.exists() and place != Path("/"):
            places[str(place)] = place
    return [word for to, place in places.items() for word in ("--volume", f"{place}:{to}:ro")]


def keep_checking(engine: Engine, names: Callable[[], list[str]]) -> Callable[[], None]:
    """Check the health of containers again and again, as systemd would.

    Returns:
        What ends it.
    """
    import threading

    ended = threading.Event()

    def check() -> None:
        while not ended.wait(2):
            for name in names():
                engine.is_healthy(name)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop
