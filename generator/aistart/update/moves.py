"""Folders that are named after an answer, and move when the answer changes."""

from collections.abc import Collection, Iterable, Iterator, Mapping


def find_moves(
    old_paths: Collection[str], new_paths: Collection[str], names: Mapping[str, str]
) -> dict[str, str]:
    """Find the folders and files that move because an answer changed.

    A part of a path that equals an old answer counts only if the template agrees: its new render
    no longer has the old path, and has the new one.

    Args:
        old_paths: of the old render's files.
        new_paths: of the new render's files.
        names: new answers by the old ones.

    Returns:
        new paths by old ones, outer folders first.
    """
    old = {*old_paths, *list_folders(old_paths)}
    new = {*new_paths, *list_folders(new_paths)}
    moves: dict[str, str] = {}
    for path in sorted(old):  # a folder comes before what it holds
        *folders, last = path.split("/")
        if last not in names:
            continue
        target = "/".join([*folders, names[last]])
        parent = move_path("/".join(folders), moves)
        moved = f"{parent}/{names[last]}" if parent else names[last]
        if path not in new and moved in new and target not in old:
            moves[path] = moved
    return moves


def move_path(path: str, moves: Mapping[str, str]) -> str:
    """Return where a path lies after the innermost folder around it has moved."""
    prefix, rest = path, ""
    while prefix:
        if prefix in moves:
            return moves[prefix] + rest
        prefix, slash, name = prefix.rpartition("/")
        rest = f"{slash}{name}{rest}"
    return path


def list_parents(path: str) -> Iterator[str]:
    """Yield the folders around a path, the innermost first."""
    while path := path.rpartition("/")[0]:
        yield path


def list_folders(paths: Iterable[str]) -> set[str]:
    """Return all folders around some paths."""
    found: set[str] = set()
    for path in paths:
        for folder in list_parents(path):
            if folder in found:
                break
            found.add(folder)
    return found
