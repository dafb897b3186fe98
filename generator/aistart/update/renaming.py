"""Answers that are names of folders: what else in a project has the old name."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aistart.layout import abbreviate
from aistart.trust import escape_unprintable
from aistart.update.disk import is_folder
from aistart.update.fingerprints import is_binary
from aistart.update.moves import list_parents
from aistart.update.trees import MergeResult, Tree, list_files, walk_files

_MAX_SIZE = 1_000_000  # bytes of a file that is searched for old names


def find_renamed_answers(
    old: Mapping[str, str], new: Mapping[str, str], theirs: Tree
) -> dict[str, str]:
    """Return new answers by old ones, as far as they can be names of folders or files.

    Where two questions had the same answer and now have different ones, as the folder ``demo`` and
    the package ``demo``, it is the one that occurs in the paths of the new render.
    """
    parts = {part for path in theirs for part in path.split("/")}
    return {
        value: new[key]
        for key, value in old.items()
        if value and new.get(key, value) != value and new[key] in parts
    }


def find_old_names(
    project: Path, moves: Mapping[str, str], ours: Tree, result: MergeResult, theirs: Tree
) -> list[str]:
    """Return notes on files of the user's that still have a name from before the update.

    Args:
        project: its folder.
        moves: new names of folders and files by old ones.
        ours: those of its files that take part in the update.
        result: of the merge.
        theirs: the new render, whose files have the new names.
    """
    if not moves:
        return []
    contents = {
        path: entry.content
        for path, entry in result.tree.items()
        if entry != theirs.get(path) and not is_binary(entry.content)
    }
    for path in list_files(project):
        file = project / path
        with suppress(OSError):  # what cannot be read takes no part
            if path not in ours and file.is_file() and file.stat().st_size <= _MAX_SIZE:
                contents[path] = file.read_bytes()
    notes = []
    for old in moves:
        word = re.compile(rb"(?<![\w-])" + re.escape(os.fsencode(old)) + rb"(?![\w-])")
        paths = [path for path, content in sorted(contents.items()) if word.search(content)]
        if paths:
            names = ", ".join(map(escape_unprintable, paths))
            notes.append(f"Files of yours that still say {old!r}: {names}.")
    return notes


def find_left_behind(project: Path, folders: Mapping[str, str], ours: Tree) -> list[str]:
    """Return notes on folders that move and leave files behind: those that git ignores.

    Args:
        project: its folder.
        folders: new paths of folders by old ones.
        ours: the files that take part in the update.
    """
    notes = []
    for old, new in folders.items():
        if not is_folder(project / old) or not folders.keys().isdisjoint(list_parents(old)):
            continue
        paths = sorted(
            path
            for path in (f"{old}/{name}" for name in walk_files(project / old))
            if path not in ours and "__pycache__" not in path.split("/")
        )
        if paths:
            shown = abbreviate([*map(escape_unprintable, paths)], 1)
            notes.append(
                f"Not moved, as git ignores it: {shown}; move what you need to "
                f"{escape_unprintable(new)}."
            )
    return notes
