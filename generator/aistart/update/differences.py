"""Differences between two versions of a file, as unified diffs."""

import difflib
import io
from collections.abc import Iterator

from aistart.trust import escape_unprintable
from aistart.update.fingerprints import is_binary
from aistart.update.trees import LINK, Entry

_CONTEXT = 3  # lines around a change


def format_difference(path: str, old: Entry | None, new: Entry | None) -> str:
    """Format the difference between two versions of a file like ``git diff``.

    Args:
        path: in the project.
        old: its first version; None: there is none.
        new: its second version; None: there is none.
    """
    if old == new:
        return ""
    name = escape_unprintable(path)
    lines = [f"diff --git a/{name} b/{name}"]
    if old is None and new is not None:
        lines.append(f"new file mode {new.mode}")
    elif new is None and old is not None:
        lines.append(f"deleted file mode {old.mode}")
    elif old is not None and new is not None and old.mode != new.mode:
        lines += [f"old mode {old.mode}", f"new mode {new.mode}"]
    old_text, new_text = (None if entry is None else _decode(entry) for entry in (old, new))
    if old is not None and new is not None and old.content == new.content:
        return "\n".join(lines) + "\n"
    if (old is not None and old_text is None) or (new is not None and new_text is None):
        return "\n".join([*lines, f"Binary files a/{name} and b/{name} differ"]) + "\n"
    sides = (f"a/{name}" if old else "/dev/null", f"b/{name}" if new else "/dev/null")
    lines += _unify(old_text or "", new_text or "", *sides)
    return "\n".join(lines) + "\n"


def _decode(entry: Entry) -> str | None:
    """Return a file's text, or None if it is binary."""
    if entry.mode != LINK and is_binary(entry.content):
        return None
    return entry.content.decode("utf-8", "backslashreplace")


def _unify(old: str, new: str, old_name: str, new_name: str) -> Iterator[str]:
    # Not splitlines, which also splits at form feeds and other characters.
    a, b = (io.StringIO(text, newline="\n").readlines() for text in (old, new))
    for line in difflib.unified_diff(a, b, old_name, new_name, n=_CONTEXT):
        if line.startswith(("---", "+++", "@@")) or line.endswith("\n"):
            yield line.removesuffix("\n")
        else:
            yield f"{line}\n\\ No newline at end of file"


def count_lines(old: Entry | None, new: Entry | None) -> tuple[int, int]:
    """Count the lines that were added and removed; none in a binary file."""
    old_text, new_text = ("" if entry is None else _decode(entry) or "" for entry in (old, new))
    marks = [line[:1] for line in list(_unify(old_text, new_text, "", ""))[2:]]
    return marks.count("+"), marks.count("-")
