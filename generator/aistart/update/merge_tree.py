"""``git merge-tree`` on three trees in memory: a scratch repository, and nothing else of git's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aistart.update import scratch
from aistart.update.fingerprints import blob_id
from aistart.update.trees import Entry, Tree

# Names of the branches: git writes them behind conflict markers.
OURS, THEIRS = "yours", "template"
_BASE = "base"
_FAST = ("-c", "core.compression=0", "-c", "core.fsync=none", "-c", "fastimport.unpackLimit=1")
_RENAMES = ("-c", "merge.directoryRenames=true", "-c", "merge.renames=true")


@dataclass(frozen=True)
class GitMerge:
    """What git makes of three trees.

    Attributes:
        tree: the merged tree. Text with conflicts has markers; of other conflicts it has one side,
            or both, of which one has another name.
        stages: of each path with a conflict, what base (1), ours (2) and theirs (3) have there.
        messages: git's, each with the paths that it is about and its kind.
        renames: new paths of the base's files in theirs by old ones.
    """

    tree: Tree
    stages: dict[str, dict[int, Entry]] = field(default_factory=dict)
    messages: list[tuple[list[str], str, str]] = field(default_factory=list)
    renames: dict[str, str] = field(default_factory=dict)


def merge_trees(base: Tree, ours: Tree, theirs: Tree) -> GitMerge:
    """Merge three trees.

    Raises:
        AistartError: git is not installed, too old, or fails.
    """
    scratch.check_version()
    with scratch.scratch_repository() as git_dir:
        contents = _import_trees(git_dir, {_BASE: base, OURS: ours, THEIRS: theirs})
        command = ("merge-tree", "--write-tree", "-z", "--messages", OURS, THEIRS)
        output = scratch.run_git(
            *_FAST, *_RENAMES, *command, git_dir=git_dir, folder=git_dir, expected=(0, 1)
        )
        tree_id, stage_rows, messages = _parse_output(output)
        rows = scratch.list_tree(tree_id, git_dir=git_dir, folder=git_dir)
        ids = {blob for _, blob in [*rows.values(), *(row[:2] for row in stage_rows)]}
        made = scratch.read_blobs(sorted(ids - contents.keys()), git_dir=git_dir, folder=git_dir)
        known = contents | made
        stages: dict[str, dict[int, Entry]] = {}
        for mode, blob, stage, path in stage_rows:
            stages.setdefault(path, {})[stage] = Entry(mode, known[blob])
        tree = {path: Entry(mode, known[blob]) for path, (mode, blob) in rows.items()}
        renames = {}
        if (base.keys() & ours.keys()) - tree.keys():  # something of ours is no longer there
            renames = _find_renames(git_dir)
    return GitMerge(tree, stages, messages, renames)


def _import_trees(git_dir: Path, trees: Mapping[str, Tree]) -> dict[bytes, bytes]:
    """Commit the trees, the first as parent of the others, and return all contents by their id."""
    marks: dict[bytes, int] = {}
    commits: list[bytes] = []
    stream: list[bytes] = []
    for number, (branch, tree) in enumerate(trees.items()):
        commits.append(b"commit refs/heads/%s\n" % branch.encode())
        commits.append(b"committer aistart <aistart@localhost> 0 +0000\ndata 0\n")
        if number:
            commits.append(b"from refs/heads/%s\ndeleteall\n" % _BASE.encode())
        for path, entry in tree.items():
            mark = marks.get(entry.content)
            if mark is None:
                mark = marks[entry.content] = len(marks) + 1
                stream.append(b"blob\nmark :%d\ndata %d\n" % (mark, len(entry.content)))
                stream += [entry.content, b"\n"]
            commits.append(b"M %s :%d %s\n" % (entry.mode.encode(), mark, _quote(path)))
    data = b"".join([*stream, *commits, b"done\n"])
    words = ("fast-import", "--quiet", "--done", "--depth=0", "--date-format=raw")
    scratch.run_git(*_FAST, *words, git_dir=git_dir, folder=git_dir, data=data)
    return {blob_id(content).hex().encode(): content for content in marks}


def _quote(path: str) -> bytes:
    """Quote a path for fast-import, which reads C's escapes and any other bytes."""
    name = os.fsencode(path)
    for character, escape in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n")):
        name = name.replace(character, escape)
    return b'"' + name + b'"'


def _parse_output(
    output: bytes,
) -> tuple[str, list[tuple[str, bytes, int, str]], list[tuple[list[str], str, str]]]:
    """Split the output of ``merge-tree -z`` into tree, stages and messages."""
    parts = iter(output.split(b"\0"))
    tree_id = next(parts).decode()
    stages = []
    for part in parts:
        if not part:
            break
        info, _, path = part.partition(b"\t")
        mode, blob, stage = info.split(b" ")
        stages.append((mode.decode(), blob, int(stage), os.fsdecode(path)))
    messages = []
    for part in parts:
        if not part.strip():
            break
        paths = [os.fsdecode(next(parts)) for _ in range(int(part))]
        messages.append((paths, next(parts).decode(), os.fsdecode(next(parts)).strip()))
    return tree_id, stages, messages


def _find_renames(git_dir: Path) -> dict[str, str]:
    """Return the new paths of files that the template renamed."""
    words = (
        "diff-tree",
        "-r",
        "-z",
        "-M",
        "--no-rename-empty",
        "-l0",
        "--diff-filter=R",
        "--name-status",
    )
    output = scratch.run_git(*words, _BASE, THEIRS, git_dir=git_dir, folder=git_dir)
    parts = [os.fsdecode(part) for part in output.split(b"\0")[:-1]]
    return dict(zip(parts[1::3], parts[2::3], strict=True))
