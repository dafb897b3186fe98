"""The three-way merge of trees, with git's own machinery.

Git decides on contents, renames and modes. What it would put beside a file of the user's, or in its
place, is a conflict here: the file stays, and the caller gets the template's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aistart.update.fingerprints import (
    Pristine,
    blob_id,
    has_crlf,
    is_binary,
    is_lock,
    rebuild,
    to_crlf,
    to_lf,
)
from aistart.update.merge_tree import OURS, THEIRS, GitMerge, merge_trees
from aistart.update.moves import find_moves, list_folders, list_parents, move_path
from aistart.update.record import Record
from aistart.update.trees import LINK, Conflict, Entry, MergeResult, Tree

# What the first and the last line of a conflict in a file begin with.
MARKERS = (f"<<<<<<< {OURS}".encode(), f">>>>>>> {THEIRS}".encode())


def merge(record: Record, ours: Tree, theirs: Tree, moves: Mapping[str, str]) -> MergeResult:
    """Merge a template's changes into a project.

    Args:
        record: what the project was made from; its pristine files are the base of the merge.
        ours: the files of the project, from ``read_ours``.
        theirs: the new render.
        moves: new answers by old ones, of those that changed: folders and files of the template
            that have such a name move, with all that the user has in them.

    Raises:
        AistartError: git is not installed, too old, or fails.
    """
    folders = find_moves(record.files, theirs, moves)
    base = {move_path(path, folders): file for path, file in record.files.items()}
    origins: dict[str, str] = {}  # by path after moves; what stands at the new place comes first
    for path in sorted(ours, key=lambda path: move_path(path, folders) != path):
        target = path if ours[path].is_opaque else move_path(path, folders)
        origins[path if target in origins else target] = path
    moved = {path: ours[origin] for path, origin in origins.items()}
    return _Merge(base, moved, dict(theirs), origins).run()


@dataclass
class _Merge:
    """One merge.

    Attributes:
        base: the pristine files.
        ours: the files of the project.
        theirs: the new render.
        origins: paths in the project by their paths in ``ours``, where folders may have moved.
        tree: the merged files.
        conflicts: by path.
        kept: files that the user deleted and that the template changed.
        sources: paths in ``ours`` by their new paths in ``tree``, of what the template renamed.
    """

    base: dict[str, Pristine]
    ours: Tree
    theirs: Tree
    origins: Mapping[str, str]
    tree: Tree = field(default_factory=dict)
    conflicts: dict[str, Conflict] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def run(self) -> MergeResult:
        """Merge, part by part: each takes its files out of the three trees."""
        base, ours = dict(self.base), dict(self.ours)
        self._set_obstacles_aside()
        opaque = {path: entry for path, entry in self.ours.items() if entry.is_opaque}
        for path in opaque:
            del self.ours[path]
        locks: Tree = {}
        for path in sorted({*self.base, *self.ours, *self.theirs}):
            if is_lock(path) and (entry := self._merge_whole(path)):
                locks[path] = entry
        self._merge_with_git()
        self.tree |= opaque | locks
        return self._build_result(base, ours)

    def _add_conflict(self, path: str, kind: str, message: str, theirs: Entry | None) -> None:
        self.conflicts[path] = Conflict(path, kind, message, theirs)

    def _set_obstacles_aside(self) -> None:
        """Leave out what the template has where something of the user's is in the way."""
        staying = {
            path
            for path, entry in self.ours.items()
            if path in self.theirs or not _is_same(self.base.get(path), entry)
        }
        folders = list_folders(staying)
        for path in dict.fromkeys([*self.base, *self.theirs]):
            at_path = self.ours.get(path)
            obstacle = next((parent for parent in list_parents(path) if parent in staying), None)
            if obstacle is None and (path in folders or (at_path and at_path.is_opaque)):
                obstacle = path
            if obstacle is None:
                continue
            pristine, entry = self.base.pop(path, None), self.theirs.pop(path, None)
            if entry and _is_changed(pristine, entry):
                message = f"the template's file has no place: {obstacle!r} is in the way"
                self._add_conflict(path, "in the way", message, entry)

    def _merge_whole(self, path: str) -> Entry | None:
        """Merge a file that is only ever taken as a whole; None: there is none."""
        base = self.base.pop(path, None)
        ours, theirs = self.ours.pop(path, None), self.theirs.pop(path, None)
        if ours == theirs or not _is_changed(base, theirs):
            return ours
        if _is_same(base, ours):
            return theirs
        if ours is None:
            self.kept.append(path)
        elif theirs is None:
            self._add_conflict(path, "removed by the template", _REMOVED, None)
        else:
            self._add_conflict(path, "lock", _message_whole("lock file"), theirs)
        return ours

    def _merge_with_git(self) -> None:
        ours = {path: _with_lf(entry) for path, entry in self.ours.items()}
        theirs = {path: _with_lf(entry) for path, entry in self.theirs.items()}
        result = merge_trees(rebuild_base(self.base, self.ours, self.theirs), ours, theirs)
        self.tree = dict(result.tree)
        self._resolve(result)
        self._find_sources(result, ours)
        for path in [path for path in ours if path not in self.tree]:
            is_renamed = path in self.sources.values()
            if not is_renamed and not _is_same(self.base.get(path), self.ours[path]):
                # Whatever git makes of it: a file with work in it does not disappear.
                self._place(path, ours[path])
                message = "the template has it elsewhere, or no longer: yours stays"
                self._add_conflict(path, "in the way", message, self.theirs.get(path))
        self.tree = {
            path: self._restore_line_ends(path, entry) for path, entry in self.tree.items()
        }

    def _resolve(self, result: GitMerge) -> None:
        """Leave the user's file where git has a conflict that is not one of lines."""
        stages: dict[str, dict[int, Entry]] = {}
        real = {*self.base, *self.ours, *self.theirs}
        for path, entries in result.stages.items():
            name = path if path in real else re.sub(rf"~({OURS}|{THEIRS})(_\d+)?$", "", path)
            if name != path:  # git puts both beside each other
                self.tree.pop(path, None)
            stages.setdefault(name, {}).update(entries)
        for path, entries in sorted(stages.items()):
            ours, theirs = entries.get(2), entries.get(3)
            if ours and theirs:
                self._resolve_both(path, ours, theirs, is_new=1 not in entries)
            elif ours and 1 in entries:
                self._place(path, ours)
                self._add_conflict(path, "removed by the template", _REMOVED, None)
            elif ours:
                self._resolve_renamed(path, ours, result)
            elif theirs:
                self.tree.pop(path, None)
                if 1 in entries and path in self.theirs:
                    self.kept.append(path)
                elif not any(path in paths for paths, _ in _list_double_renames(result)):
                    message = "the template's file has no place: a file or folder is in the way"
                    self._add_conflict(path, "in the way", message, theirs)

    def _resolve_both(self, path: str, ours: Entry, theirs: Entry, *, is_new: bool) -> None:
        merged = self.tree.get(path)
        if merged and merged.content != ours.content and MARKERS[0] in merged.content:
            reason = "the template now has this file, too" if is_new else _BOTH_CHANGED
            message = f"{reason}: search for {MARKERS[0].decode()!r}"
            self._add_conflict(path, "content", message, self.theirs.get(path, theirs))
            return
        self._place(path, ours)
        if ours.content != theirs.content or LINK in (ours.mode, theirs.mode):
            kind = "link" if LINK in (ours.mode, theirs.mode) else "binary"
            message = _message_whole("link" if kind == "link" else "binary file")
            self._add_conflict(path, kind, message, self.theirs.get(path, theirs))

    def _resolve_renamed(self, path: str, ours: Entry, result: GitMerge) -> None:
        """Resolve a conflict in which the user's file is alone at its path."""
        target = next(
            (names[2] for paths, names in _list_double_renames(result) if path == names[1]), None
        )
        merged = self.tree.get(path, ours)
        self._place(path, merged)
        if target is None:
            message = "the template has a folder here: yours stays"
            self._add_conflict(path, "in the way", message, None)
        elif MARKERS[0] in merged.content and MARKERS[0] not in ours.content:
            message = f"the template renamed it to {target!r}, and {_BOTH_CHANGED}"
            self._add_conflict(path, "content", message, self.theirs.get(target))
        else:
            message = f"the template renamed it to {target!r}: yours stays, with its changes"
            self._add_conflict(path, "renamed by the template", message, self.theirs.get(target))

    def _place(self, path: str, entry: Entry) -> None:
        """Put a file of the user's where it was; what the template has in its way gives way."""
        parents = set(list_parents(path))
        for other in list(self.tree):
            if other in parents or other.startswith(f"{path}/"):
                theirs = self.tree.pop(other)
                message = f"the template's file has no place: {path!r} is in the way"
                self._add_conflict(other, "in the way", message, theirs)
        self.tree[path] = entry

    def _find_sources(self, result: GitMerge, ours: Tree) -> None:
        """Find where files of the user's went that are no longer at their path."""
        arrived = {path for path in self.tree if path not in ours}
        for path, entry in ours.items():
            if path in self.tree:
                continue
            target = result.renames.get(path)
            if target not in arrived:
                # Git moves it with its folder: its name stays, and the template has none like it.
                name = path.rpartition("/")[2]
                candidates = sorted(new for new in arrived if new not in self.theirs)
                target = next(
                    (
                        new
                        for new in candidates
                        if new.rpartition("/")[2] == name
                        and self.tree[new].content == entry.content
                    ),
                    None,
                )
            if target is not None:
                arrived.discard(target)
                self.sources[target] = path

    def _restore_line_ends(self, path: str, entry: Entry) -> Entry:
        """Return a merged text with the line ends that one side chose, else with the user's."""
        if not _is_text(entry):
            return entry
        source = self.sources.get(path, path)
        ours, theirs = self.ours.get(source), self.theirs.get(path)
        if ours is None:
            content = next(
                (e.content for e in self.theirs.values() if to_lf(e.content) == entry.content), b""
            )
            is_crlf = has_crlf(theirs.content if theirs else content)
        else:
            is_crlf = has_crlf(ours.content) and not is_binary(ours.content)
            pristine = self.base.get(source)
            if theirs and pristine and pristine.has_crlf == is_crlf:
                is_crlf = has_crlf(theirs.content)
        return Entry(entry.mode, to_crlf(entry.content)) if is_crlf else entry

    def _build_result(self, base: Mapping[str, Pristine], before: Tree) -> MergeResult:
        """Group the files by what happened to them.

        Args:
            base: all pristine files.
            before: all files of the project.
        """
        result = MergeResult(self.tree, list(self.conflicts.values()), kept=self.kept)
        for path, entry in sorted(self.tree.items()):
            source = self.sources.get(path, path)
            ours = before.get(source)
            if ours is None:
                result.new.append(path)
                continue
            if self.origins[source] != path:
                result.moves[self.origins[source]] = path
            if path in self.conflicts:
                continue
            is_edited = not _is_same(base.get(source), ours)
            if entry != ours:
                (result.merged if is_edited else result.updated).append(path)
            elif source in base and is_edited:
                result.kept.append(path)
            elif self.origins[source] != path and not is_edited:
                result.updated.append(path)
        gone = before.keys() - self.tree.keys() - set(self.sources.values())
        result.removed.extend(sorted(self.origins[path] for path in gone))
        result.kept.sort()
        result.conflicts.sort(key=lambda conflict: conflict.path)
        return result


def rebuild_base(base: Mapping[str, Pristine], ours: Tree, theirs: Tree) -> Tree:
    """Return the pristine files, with line feeds alone, as far as their text is known.

    Args:
        base: what the record keeps of them.
        ours: the files of the project.
        theirs: the new render.
    """
    known: dict[bytes, Entry] = {}
    for entry in (*theirs.values(), *ours.values()):
        known.setdefault(blob_id(entry.content), entry)

    def list_others() -> Iterator[bytes]:  # where a file may have been renamed to
        for tree in (ours, theirs):
            yield from (_with_lf(tree[path]).content for path in tree.keys() - base.keys())

    rebuilt: Tree = {}
    for path, pristine in base.items():
        if same := known.get(pristine.blob):
            rebuilt[path] = _with_lf(Entry(pristine.mode, same.content))
        elif pristine.lines is None:
            content = b"\0pristine " + pristine.blob.hex().encode()
            rebuilt[path] = Entry(pristine.mode, content)
        else:
            texts = [_with_lf(tree[path]).content for tree in (ours, theirs) if path in tree]
            others = list_others if len(texts) < 2 else None
            rebuilt[path] = Entry(pristine.mode, rebuild(pristine, texts, others))
    return rebuilt


_BOTH_CHANGED = "both changed the same lines"
_REMOVED = "you changed it and the template no longer has it: yours stays"


def _message_whole(kind: str) -> str:
    return f"both changed this {kind}: yours stays"


def _is_changed(pristine: Pristine | None, entry: Entry | None) -> bool:
    """Whether a file of the new render differs from that of the old one in any byte."""
    if pristine is None or entry is None:
        return pristine is not None or entry is not None
    return (pristine.mode, pristine.blob) != (entry.mode, blob_id(entry.content))


def _is_same(pristine: Pristine | None, entry: Entry | None) -> bool:
    """Whether a file of the user's is as it was rendered, or missing on both sides."""
    if pristine is None or entry is None:
        return pristine is None and entry is None
    return pristine.is_unedited(entry.mode, entry.content)


def _is_text(entry: Entry) -> bool:
    return entry.mode != LINK and not is_binary(entry.content)


def _with_lf(entry: Entry) -> Entry:
    if _is_text(entry) and has_crlf(entry.content):
        return Entry(entry.mode, to_lf(entry.content))
    return entry


def _list_double_renames(result: GitMerge) -> Iterator[tuple[set[str], list[str]]]:
    """Yield the old, the user's and the template's name of files that both renamed."""
    for paths, kind, _ in result.messages:
        if kind == "CONFLICT (rename/rename)" and len(paths) == 3:
            yield set(paths), paths
