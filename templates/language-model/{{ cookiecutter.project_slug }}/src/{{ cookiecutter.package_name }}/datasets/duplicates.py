"""Copies and near-copies of texts, by the groups of words that they share (Broder 1997).

A text's groups of three words (in scripts without spaces: characters) are hashed; texts that agree
in a band of their least hashes are compared in full. NumPy does it for texts of any script.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from ..engine.files import project_root

GROUP = 3  # words
BINS = 128  # least hashes of a text
LONGEST = 2**20  # characters of a text that are looked at
CERTAIN = 0.995  # chance that two texts at the threshold are compared
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio
FILLER = np.uint64(2**64 - 1)


class ContentHasher:
    """Hash of a text's letters and digits, in any case: copies agree whatever their spacing."""

    def __init__(self) -> None:
        self._letters = hashlib.blake2b(digest_size=12)
        self._others = hashlib.blake2b(digest_size=12, salt=b"others")
        self._has_letters = False

    def update(self, text: str) -> None:
        """Add a part of the text."""
        codes = _codes(text.casefold())
        letters = codes[_letter_kinds()[codes] > 0]
        if len(letters):
            self._has_letters = True
            self._letters.update(letters.tobytes())
        if not self._has_letters:  # such as emoji
            self._others.update("".join(text.split()).encode("utf-8", "replace"))

    def key(self) -> str:
        """Return the hash."""
        return (self._letters if self._has_letters else self._others).hexdigest()


class BandKeys:
    """Keys of all texts by which near-copies are found, in a temporary file.

    Args:
        threshold: share of common groups of words from which on two texts are near-copies; 1: only
            copies are.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.bands, self.rows = choose_bands(threshold)
        self._number = 0
        self._parts: list[str] = []
        self._length = 0
        folder = project_root() / ".cache"
        folder.mkdir(exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def begin(self) -> None:
        """Begin a text."""
        self._parts, self._length = [], 0

    def add(self, text: str) -> None:
        """Add a part of the text."""
        if self._length < LONGEST and self.threshold < 1:
            self._parts.append(text[: LONGEST - self._length])
            self._length += len(self._parts[-1])

    def end(self) -> None:
        """End the text; only now it counts."""
        self._number += 1
        if self.threshold < 1:
            least = least_hashes(word_groups("".join(self._parts)))
            self._file.write(self._hash_bands(least).tobytes())
        self._parts = []

    def _hash_bands(self, least: np.ndarray) -> np.ndarray:
        used = least[: self.bands * self.rows].reshape(self.bands, self.rows)
        powers = np.cumprod(np.full(self.rows, ODD))
        with np.errstate(over="ignore"):
            return _mix((_mix(used) * powers).sum(axis=1, dtype="uint64"))

    def find_pairs(self, read: Callable[[int], str]) -> np.ndarray:
        """Return pairs (number, 2) of near-copies; transitively joined they are groups.

        Args:
            read: returns the text with a number.
        """
        if self.threshold >= 1 or self._number < 2:
            return np.zeros((0, 2), "int64")
        self._file.flush()
        keys = np.memmap(self._file, "uint64", "r", shape=(self._number, self.bands))
        root = np.arange(self._number)
        compared: set[tuple[int, int]] = set()
        pairs = []
        for band in range(self.bands):
            for members in _collisions(np.array(keys[:, band])):
                first = int(members[0])
                for other in map(int, members[1:]):
                    if _root(root, first) == _root(root, other) or (first, other) in compared:
                        continue
                    compared.add((first, other))
                    if similarity(read(first), read(other)) >= self.threshold:
                        root[_root(root, other)] = _root(root, first)
                        pairs.append((first, other))
        return np.array(pairs, "int64").reshape(-1, 2)


def choose_bands(threshold: float) -> tuple[int, int]:
    """Return bands and hashes in each: the strictest that surely find texts at the threshold."""
    for rows in range(16, 1, -1):
        bands = BINS // rows
        if 1 - (1 - threshold**rows) ** bands >= CERTAIN:
            return bands, rows
    return BINS, 1


def similarity(first: str, second: str) -> float:
    """Return the share of groups of words of two texts that both have (Jaccard)."""
    one, two = (np.unique(word_groups(text[:LONGEST])) for text in (first, second))
    common = len(np.intersect1d(one, two, assume_unique=True))
    return common / max(len(one) + len(two) - common, 1)


def word_groups(text: str) -> np.ndarray:
    """Return a hash (number,) uint64 of each three words in a row.

    A word is letters and digits; in a script without spaces each letter is a word.
    """
    words = _hash_words(_codes(text.casefold()))
    if len(words) == 0:
        return _mix(_codes("".join(text.split())).astype("uint64"))
    if len(words) < GROUP:
        words = np.concatenate([words, np.zeros(GROUP - len(words), "uint64")])
    with np.errstate(over="ignore"):
        groups = words[: len(words) - GROUP + 1].copy()
        for place in range(1, GROUP):
            shifted = words[place : len(words) - GROUP + 1 + place]
            groups = groups * ODD + shifted
    return _mix(groups)


def least_hashes(hashes: np.ndarray) -> np.ndarray:
    """Return the least hash (128,) uint64 in each bin (one-permutation MinHash, Li et al. 2012).

    An empty bin takes the hash of another one, the same in all texts (Shrivastava 2017).
    """
    least = np.full(BINS, FILLER)
    np.minimum.at(least, (hashes % np.uint64(BINS)).astype("int64"), hashes)
    empty = least == FILLER
    if empty.all():
        return least
    donors = _donors()[empty]  # (empty bins, bins) in the order in which they are asked
    first = np.argmin(empty[donors], axis=1, keepdims=True)
    least[empty] = least[np.take_along_axis(donors, first, axis=1)[:, 0]]
    return least


@cache
def _donors() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.stack([random.permutation(BINS) for _ in range(BINS)])


def _hash_words(codes: np.ndarray) -> np.ndarray:
    kinds = _letter_kinds()[codes]
    before = np.concatenate([[0], kinds[:-1]])
    # A word begins at a letter behind none, and at each letter of a script without spaces.
    begins = (kinds > 0) & ((before == 0) | (kinds == 2) | (before == 2))
    starts = np.flatnonzero(begins)
    if len(starts) == 0:
        return np.zeros(0, "uint64")
    letters = np.flatnonzero(kinds > 0)
    first = starts[np.cumsum(begins)[letters] - 1]  # of each letter's word
    powers = _powers()
    with np.errstate(over="ignore"):
        values = _mix(codes[letters].astype("uint64"))
        values = values * powers[np.minimum(letters - first, len(powers) - 1)]
        return np.add.reduceat(values, np.searchsorted(letters, starts))


@cache
def _powers() -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.cumprod(np.full(64, ODD))


@cache
def _letter_kinds() -> np.ndarray:
    """Return of each character 1 for a letter or digit, 2 in a script without spaces, else 0."""
    kinds = np.zeros(0x110000, "uint8")
    for code in range(0x110000):
        if chr(code).isalnum():
            kinds[code] = 1
    for first, last in (
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x1000, 0x109F),  # Myanmar
        (0x1780, 0x17FF),  # Khmer
        (0x3040, 0x30FF),  # Hiragana, Katakana
        (0x3400, 0x4DBF),  # Chinese characters, also below
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x323AF),
    ):
        kinds[first : last + 1] *= 2
    return kinds


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "uint32")


def _mix(values: np.ndarray) -> np.ndarray:
    """Hash 64-bit numbers (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        values = (values + ODD) & FILLER
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _collisions(keys: np.ndarray) -> Iterable[np.ndarray]:
    """Yield the sorted positions of each key that occurs more than once."""
    order = np.argsort(keys, kind="stable")
    as_next = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])  # places equal to the next one
    if len(as_next):
        for run in np.split(as_next, np.flatnonzero(np.diff(as_next) > 1) + 1):
            yield order[run[0] : run[-1] + 2]


def _root(root: np.ndarray, node: int) -> int:
    while root[node] != node:
        root[node] = root[root[node]]
        node = int(root[node])
    return node
