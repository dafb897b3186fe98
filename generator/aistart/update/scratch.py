"""A bare git repository in a temporary folder, which the user's configuration does not reach."""

import logging
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from aistart.errors import AistartError
from aistart.staging import staging_folder

log = logging.getLogger(__name__)

MIN_VERSION = (2, 38)  # the first git with ``merge-tree --write-tree``


@contextmanager
def scratch_repository() -> Iterator[Path]:
    """Make an empty bare repository that exists until the end of the context.

    Yields:
        its folder.

    Raises:
        AistartError: git is not installed, or fails.
    """
    with staging_folder() as stage:
        # By hand: ``git init`` takes as long as the whole merge.
        (stage / "objects").mkdir()
        (stage / "refs").mkdir()
        (stage / "HEAD").write_text("ref: refs/heads/none\n", encoding="utf-8")
        (stage / "config").write_text(
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n", encoding="utf-8"
        )
        yield stage


def run_git(
    *words: str,
    git_dir: Path | None = None,
    folder: Path | None = None,
    work_tree: Path | None = None,
    data: bytes = b"",
    expected: tuple[int, ...] = (0,),
) -> bytes:
    """Run git without the user's configuration, attributes, filters and hooks.

    Args:
        words: the command's.
        git_dir: the repository; None: the one around ``folder``, with the user's configuration,
            which may be needed to enter it.
        folder: to run it in.
        work_tree: of the repository, if it has one.
        data: for its standard input.
        expected: exit codes that are no failure.

    Raises:
        AistartError: git is not installed, or fails.
    """
    log.debug("git %s", " ".join(words))
    # Variables of a hook that calls aistart name that hook's repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Git's messages are parsed: in English.
    environment = {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    if git_dir is not None:
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        environment |= {**nothing, "GIT_ATTR_NOSYSTEM": "1", "GIT_DIR": str(git_dir.absolute())}
    if work_tree is not None:
        environment["GIT_WORK_TREE"] = str(work_tree.absolute())
    options = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    try:
        result = subprocess.run(
            ["git", *options, *words],
            cwd=folder,
            env=environment,
            input=data,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise AistartError(
            f"git is not installed: an update needs git {_format(MIN_VERSION)} or newer."
        ) from None
    if result.returncode not in expected:
        lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = next((line for line in lines if line.startswith("fatal: ")), None)
        raise AistartError(f"git {words[0]}: {reason or (lines or ['no reason given'])[-1]}")
    return result.stdout


def list_tree(
    tree: str, *, git_dir: Path | None = None, folder: Path | None = None
) -> dict[str, tuple[str, bytes]]:
    """Return mode and id, in hexadecimal, of each file of a tree or commit, by path.

    Args:
        tree: its id.
        git_dir: as for ``run_git``.
        folder: as for ``run_git``.

    Raises:
        AistartError: as ``run_git``.
    """
    rows = {}
    output = run_git("ls-tree", "-r", "-z", tree, git_dir=git_dir, folder=folder)
    for line in output.split(b"\0")[:-1]:
        info, _, path = line.partition(b"\t")
        mode, _, blob = info.split(b" ")
        rows[os.fsdecode(path)] = (mode.decode(), blob)
    return rows


def read_blobs(
    ids: Iterable[bytes], *, git_dir: Path | None = None, folder: Path | None = None
) -> dict[bytes, bytes]:
    """Return contents by their ids, of those that a repository holds.

    Args:
        ids: in hexadecimal.
        git_dir: as for ``run_git``.
        folder: as for ``run_git``.

    Raises:
        AistartError: as ``run_git``.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return {}
    request = b"".join(blob + b"\n" for blob in wanted)
    output = run_git("cat-file", "--batch", git_dir=git_dir, folder=folder, data=request)
    contents, position = {}, 0
    for blob in wanted:
        end = output.index(b"\n", position)
        words = output[position:end].split()
        position = end + 1
        if len(words) == 3 and words[1] == b"blob":  # else it is missing
            size = int(words[2])
            contents[blob] = output[position : position + size]
            position += size + 1
    return contents


@cache
def check_version() -> None:
    """Check that git can merge trees.

    Raises:
        AistartError: it is too old, or not installed.
    """
    text = run_git("version").decode("utf-8", "replace").strip()
    match = re.search(r"(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) < MIN_VERSION:
        raise AistartError(
            f"{text} is too old: an update needs git {_format(MIN_VERSION)} or newer; install it "
            "and put it first on the PATH."
        )


def _format(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
