"""Texts on disk, read by position, so that memory does not grow with their number."""

import hashlib
import mmap
import tempfile
from array import array

import numpy as np

from ..engine.files import project_root


class TextStore:
    """Texts in one anonymous temporary file, which vanishes with the process."""

    def __init__(self) -> None:
        folder = project_root() / ".cache"
        folder.mkdir(exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends = array("q", [0])
        self._content: mmap.mmap | None = None

    def append(self, text: str) -> None:
        """Add a text; its position is the number of texts before it."""
        encoded = text.encode("utf-8", "replace")
        self._file.write(encoded)
        self._ends.append(self._ends[-1] + len(encoded))

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Read the texts (batch,) at these positions (batch,), in UTF-8."""
        if self._content is None and self._ends[-1]:
            self._file.flush()
            self._content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        spans = [(self._ends[i], self._ends[i + 1]) for i in positions]
        content = self._content or b""
        return np.array([content[a:b] for a, b in spans], dtype=object)


def content_key(text: str) -> str:
    """Hash a text so that texts that differ only in case, spaces and punctuation match."""
    letters = "".join(filter(str.isalnum, text.casefold()))
    # Texts without letters and digits, such as emoji, are compared by their other characters.
    content = letters or "".join(text.split())
    return hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=12).hexdigest()
