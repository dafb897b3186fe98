"""Fingerprints: a pristine file as five bytes for each line, from which a merge rebuilds its base.

A line of the base that neither the user's nor the new file holds was deleted by both, so that its
text is never needed: a placeholder merges alike. The other lines have the text of those files.
"""

from base64 import b85encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2s, sha1

SIZE = 5  # bytes of a line's fingerprint
_PLACEHOLDER = b"\x01"


@dataclass(frozen=True)
class Pristine:
    """A file as it was rendered.

    Attributes:
        mode: git's.
        blob: git's SHA-1 of its content.
        size: of its content in bytes.
        lines: the lines' fingerprints, one after the other; None where the file is merged as a
            whole: binary files, links, locks.
        has_crlf: whether each line ends with a carriage return and a line feed; the fingerprints
            are then of lines without the carriage return.
        ends: whether the last line ends.
    """

    mode: str
    blob: bytes
    size: int
    lines: bytes | None = None
    has_crlf: bool = False
    ends: bool = True

    def is_unedited(self, mode: str, content: bytes) -> bool:
        """Whether a file is as it was rendered; the carriage returns that git writes on Windows are
        no edit.
        """
        if mode != self.mode or blob_id(content) == self.blob:
            return mode == self.mode
        can_differ = has_crlf(content) and not self.has_crlf and not is_binary(content)
        return can_differ and blob_id(to_lf(content)) == self.blob


def blob_id(content: bytes) -> bytes:
    """Return the SHA-1 that git gives to a content."""
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()


def is_lock(path: str) -> bool:
    """Whether a tool writes the file: merging its lines would give what no tool would."""
    return path.endswith(".lock")


def is_binary(content: bytes) -> bool:
    """Whether git takes a content for binary."""
    return b"\0" in content[:8000]


def has_crlf(content: bytes) -> bool:
    """Whether each line of a text ends with a carriage return and a line feed."""
    count = content.count(b"\r\n")
    return count > 0 and count == content.count(b"\n")


def to_lf(content: bytes) -> bytes:
    """Return the text with line feeds alone."""
    return content.replace(b"\r\n", b"\n")


def to_crlf(content: bytes) -> bytes:
    """Return the text with a carriage return before each line feed."""
    return content.replace(b"\n", b"\r\n")


def split_lines(content: bytes) -> list[bytes]:
    """Split at line feeds only; each line without its own."""
    lines = content.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


class Fingerprints:
    """Fingerprints of lines; each distinct line is hashed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def take(self, path: str, mode: str, content: bytes) -> Pristine:
        """Return what a record keeps of a file.

        Args:
            path: of the file.
            mode: git's.
            content: its bytes.
        """
        blob, size = blob_id(content), len(content)
        if mode == "120000" or is_lock(path) or is_binary(content):
            return Pristine(mode, blob, size)
        crlf = has_crlf(content)
        text = to_lf(content) if crlf else content
        ends = not text or text.endswith(b"\n")
        return Pristine(mode, blob, size, self.of_lines(split_lines(text)), crlf, ends)

    def of_lines(self, lines: Iterable[bytes]) -> bytes:
        """Return the fingerprints of lines, one after the other."""
        known = self._known
        found = []
        for line in lines:
            fingerprint = known.get(line)
            if fingerprint is None:
                fingerprint = known[line] = blake2s(line, digest_size=SIZE).digest()
            found.append(fingerprint)
        return b"".join(found)


def rebuild(
    pristine: Pristine,
    texts: Iterable[bytes],
    list_others: Callable[[], Iterable[bytes]] | None = None,
) -> bytes:
    """Rebuild a pristine file, with line feeds alone, from texts that share lines with it.

    Args:
        pristine: what the record keeps of it; with ``lines``.
        texts: versions of the same file, with line feeds alone.
        list_others: returns texts that lines may have moved to; called if ``texts`` lack some.

    Returns:
        its text; each line that no text holds is a placeholder, the same for the same line.
    """
    known = _index(texts)
    wanted = list(_split_fingerprints(pristine.lines or b""))
    if list_others and any(fingerprint not in known for fingerprint in wanted):
        known = _index(list_others()) | known
    found = [known.get(fingerprint) for fingerprint in wanted]
    if None not in found:
        content = _join([line for line in found if line is not None], pristine.ends)
        original = to_crlf(content) if pristine.has_crlf else content
        if blob_id(original) == pristine.blob:
            return content
        found = [None] * len(found)  # a fingerprint is that of another line: trust none of them
    # With the file's size git finds renames as it would with its text.
    missing = found.count(None)
    rest = pristine.size - sum(len(line) + 1 for line in found if line is not None)
    width = max(rest // missing - 1, 0)
    lines = [
        line if line is not None else _placeholder(fingerprint, width)
        for fingerprint, line in zip(wanted, found, strict=True)
    ]
    return _join(lines, pristine.ends)


def _index(texts: Iterable[bytes]) -> dict[bytes, bytes | None]:
    """Return lines by fingerprint; None for a fingerprint that two different lines have."""
    index: dict[bytes, bytes | None] = {}
    for line in {line for text in texts for line in split_lines(text)}:
        fingerprint = blake2s(line, digest_size=SIZE).digest()
        index[fingerprint] = None if fingerprint in index else line
    return index


def _placeholder(fingerprint: bytes, width: int) -> bytes:
    """Return a line that no file holds, of about this width."""
    return (_PLACEHOLDER + b85encode(fingerprint)).ljust(width, _PLACEHOLDER)


def is_placeholder(line: bytes) -> bool:
    """Whether ``rebuild`` put the line in the place of one that is nowhere any more."""
    return line.startswith(_PLACEHOLDER)


def _split_fingerprints(lines: bytes) -> Iterator[bytes]:
    for start in range(0, len(lines), SIZE):
        yield lines[start : start + SIZE]


def _join(lines: list[bytes], ends: bool) -> bytes:
    return b"\n".join(lines) + (b"\n" if ends and lines else b"")
