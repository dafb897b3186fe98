"""Texts on disk, read by position: memory stays flat however many there are."""

import hashlib
import mmap
import tempfile
from array import array

import numpy as np

from ..engine.files import project_root


class TextStore:
    """Texts one after the other in a file without a name, which goes with the process."""

    def __init__(self) -> None:
        folder = project_root() / ".cache"
        folder.mkdir(exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends = array("q", [0])
        self._content: mmap.mmap | None = None

    def append(self, text: str) -> None:
        encoded = text.encode("utf-8", "replace")
        self._file.write(encoded)
        self._ends.append(self._ends[-1] + len(encoded))

    def read(self, places: np.ndarray) -> np.ndarray:
        """Texts (batch,) in UTF-8."""
        if self._content is None and self._ends[-1]:
            self._file.flush()
            self._content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        parts = [(self._ends[place], self._ends[place + 1]) for place in places]
        return np.array([self._content[a:b] if b > a else b"" for a, b in parts], dtype=object)


def content_key(text: str) -> str:
    """The same for texts that differ in case, spaces and punctuation alone."""
    letters = "".join(filter(str.isalnum, text.casefold()))
    # Of nothing but signs, the signs count.
    counted = letters or "".join(text.split())
    return hashlib.blake2b(counted.encode("utf-8", "replace"), digest_size=12).hexdigest()
