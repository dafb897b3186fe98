"""Fingerprints: a pristine file as five bytes for each line, from which a merge rebuilds its base.

A line of the base that neither the user's nor the new file holds was deleted by both, so that its
text is never needed: a placeholder merges alike. The other lines have the text of those files.
"""

from dataclasses import dataclass

SIZE = 5  # bytes of a line's fingerprint


@dataclass(frozen=True)
class Pristine:
    """A file as it was rendered.

    Attributes:
        mode: git's.
        blob: git's SHA-1 of its content.
        size: of its content in bytes.
        has_crlf: whether each of its lines ends with a carriage return; their fingerprints are
            without.
        lines: the lines' fingerprints, one after the other; None where the file is merged as a
            whole: binary files, links, locks.
    """

    mode: str
    blob: bytes
    size: int
    has_crlf: bool = False
    lines: bytes | None = None
