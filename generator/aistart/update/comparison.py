"""How a project differs from what its template rendered."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aistart.errors import AistartError, UsageProblem, format_value
from aistart.update.differences import count_lines, format_difference
from aistart.update.fingerprints import (
    Pristine,
    blob_id,
    is_placeholder,
    rebuild,
    to_crlf,
    to_lf,
)
from aistart.update.record import Record
from aistart.update.scratch import read_blobs
from aistart.update.trees import Entry, Tree, read_files

_UNKNOWN_LINE = b"<a line of the template, whose text is nowhere any more>"
_UNKNOWN_FILE = b"<the template's file, which is nowhere any more>"


@dataclass(frozen=True)
class FileDifference:
    """A file of a project that is not as its template rendered it.

    Attributes:
        path: in the project.
        old: as rendered.
        new: as it is; None: it was deleted.
        is_complete: whether all lines of ``old`` are known.
    """

    path: str
    old: Entry
    new: Entry | None
    is_complete: bool = True

    def format_patch(self) -> str:
        """Format it like ``git diff``."""
        return format_difference(self.path, self.old, self.new)

    def format_counts(self) -> str:
        """Format how much it is, in one line."""
        if self.new is None:
            return "deleted"
        added, removed = count_lines(self.old, self.new)
        if added or removed:
            return f"+{added} -{removed}"
        return "mode" if self.old.content == self.new.content else "binary"


def find_edited(project: Path, record: Record) -> dict[str, Entry | None]:
    """Return the template's files that are not as rendered, as they are now; None: deleted.

    Raises:
        AistartError: a file cannot be read.
    """
    tree = read_files(project, record.files)
    edited = {}
    for path, pristine in record.files.items():
        entry = tree.get(path)
        if entry is None or not pristine.is_unedited(entry.mode, entry.content):
            edited[path] = entry
    return edited


def compare(
    project: Path,
    record: Record,
    render: Callable[[], Tree],
    paths: Iterable[str] = (),
) -> list[FileDifference]:
    """Compare a project with what its template rendered.

    The text of a pristine file is that of git's object, which a project has if it was ever
    committed, else of the present render if that is the same file, else it is put together from the
    lines that the project still has.

    Args:
        project: its folder.
        record: of it.
        render: returns what the template renders now; called only if it is needed.
        paths: files and folders to compare; default: all.

    Raises:
        UsageProblem: the template rendered nothing at a path.
        AistartError: a file cannot be read.
    """
    wanted = [path.rstrip("/") for path in paths]

    def is_wanted(path: str) -> bool:
        return not wanted or any(_is_at(path, name) for name in wanted)

    for name in wanted:
        if not any(_is_at(path, name) for path in record.files):
            raise UsageProblem(
                f"PATH: {format_value(name)} is no file or folder that the template rendered."
            )
    edited = {
        path: entry for path, entry in find_edited(project, record).items() if is_wanted(path)
    }
    contents = _read_objects(project, [record.files[path].blob for path in edited])
    if any(record.files[path].blob not in contents for path in edited):
        with suppress(AistartError):  # the present template may not take the project's answers
            contents |= {blob_id(entry.content): entry.content for entry in render().values()}
    return [
        _build_difference(path, record.files[path], entry, contents)
        for path, entry in sorted(edited.items())
    ]


def _is_at(path: str, name: str) -> bool:
    """Whether a path is a file or in a folder; ``.`` is the whole project."""
    return name == "." or path == name or path.startswith(f"{name}/")


def _build_difference(
    path: str, pristine: Pristine, entry: Entry | None, contents: dict[bytes, bytes]
) -> FileDifference:
    content = contents.get(pristine.blob)
    if content is not None:
        return FileDifference(path, Entry(pristine.mode, content), entry)
    if pristine.lines is None:
        return FileDifference(path, Entry(pristine.mode, _UNKNOWN_FILE), entry, False)
    text = rebuild(pristine, [] if entry is None else [to_lf(entry.content)])
    lines = [_UNKNOWN_LINE if is_placeholder(line) else line for line in text.split(b"\n")]
    text = b"\n".join(lines)
    text = to_crlf(text) if pristine.has_crlf else text
    return FileDifference(path, Entry(pristine.mode, text), entry, blob_id(text) == pristine.blob)


def _read_objects(project: Path, blobs: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the contents that git's repository of the project holds, by their ids."""
    try:
        found = read_blobs([blob.hex().encode() for blob in blobs], folder=project)
    except AistartError:  # no repository, or no git
        return {}
    return {bytes.fromhex(name.decode()): content for name, content in found.items()}
