"""Which texts train, validate and test: whole groups, by their size, or one text by position."""

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np

from ..config import DataConfig
from ..engine.errors import DataProblem, UsageProblem
from .corpus import TEXT, Corpus, Span
from .splits import SPLITS, TEST, TRAIN, VALIDATION, merge_groups
from .texts import CHUNK, find_border

WINDOW = 2**14  # bytes in which a border is looked for
LARGE = 0.05  # share of the smallest split from which on a group is placed by its size


def divide(corpus: Corpus, data: DataConfig) -> tuple[dict[str, list[Span]], int, int]:
    """Divide the texts into splits.

    A single text is divided by position: its beginning trains, its end tests.

    Args:
        corpus: the texts.
        data: fractions and seed; ``data.limit`` is a number of texts.

    Returns:
        The texts of each split, the number of copies, and that of near-copies.

    Raises:
        DataProblem: there are too few texts, or one that is too short.
        UsageProblem: ``data.limit`` leaves too few.
    """
    if len(corpus) == 1 and corpus.kind == TEXT:
        return _divide_by_position(corpus, data), 0, 0
    keys = np.array(corpus.keys, dtype=object)
    copies = len(keys) - len(set(corpus.keys))
    joined = find_near_copies(corpus)
    near_copies = len(corpus) - len(np.unique(joined))
    groups = merge_groups(
        keys, joined.astype(str).astype(object), np.array(corpus.groups, dtype=object)
    )
    chosen = _choose(corpus, groups, data)
    names = _assign(corpus, groups, chosen, data)
    splits: dict[str, list[Span]] = {name: [] for name in SPLITS}
    for number in chosen:
        if names[number]:
            splits[names[number]].append(corpus.span(int(number)))
    return splits, copies, max(0, near_copies - copies)


def _first_chunks(corpus: Corpus, number: int) -> list[str]:
    parts: list[str] = []
    for text in corpus.texts(corpus.span(number)):
        parts.append(text)
        if sum(map(len, parts)) > CHUNK:
            break
    return parts


def find_near_copies(corpus: Corpus) -> np.ndarray:
    """Return group numbers (size,): texts that are near-copies of each other are in one group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = corpus.bands.find_pairs(lambda n: "\n".join(_first_chunks(corpus, n)))
    size = len(corpus)
    edges = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return connected_components(edges, directed=False)[1]


def _choose(corpus: Corpus, groups: np.ndarray, data: DataConfig) -> np.ndarray:
    """Return sorted numbers of at most ``data.limit`` texts, chosen by a hash of their content."""
    numbers = np.arange(len(corpus))
    if data.limit and data.limit < len(numbers):
        if data.limit < len(SPLITS):
            raise UsageProblem(
                f"data.limit: {data.limit} is too few; at least {len(SPLITS)} texts are needed, "
                "one for each split."
            )
        order = sorted(numbers, key=lambda n: _draw(data.split_seed, corpus.keys[n]))
        # Texts of three groups come first, so that there is one for each split.
        seen: dict[str, int] = {}
        for number in order:
            seen.setdefault(corpus.splits[number] or str(groups[number]), int(number))
        first = list(seen.values())[: len(SPLITS)]
        rest = [number for number in order if number not in set(first)]
        numbers = np.sort(np.array([*first, *rest][: data.limit]))
    return numbers


def _assign(corpus: Corpus, groups: np.ndarray, chosen: np.ndarray, data: DataConfig) -> np.ndarray:
    """Return the name (size,) of each text's split; '' for a copy of a text of a later split."""
    names = np.array(corpus.splits, dtype=object)
    rest = chosen
    wanted = {VALIDATION: data.validation_fraction, TEST: data.test_fraction}
    if any(corpus.splits):
        # Of copies in several splits, the test split keeps its own, so that nothing leaks into it.
        for kept, others in ((TEST, (TRAIN, VALIDATION)), (VALIDATION, (TRAIN,))):
            copies = np.isin(groups, groups[names == kept])
            names[copies & np.isin(names, others)] = ""
        present = {str(name) for name in names[chosen]}
        wanted = {name: share for name, share in wanted.items() if name not in present}
        rest = chosen[names[chosen] == TRAIN]
        if not len(rest):
            raise DataProblem("data: no text is left for the training split.")
    if wanted:
        _check_number(corpus, groups[rest], len(wanted) + 1)
        names[rest] = _fill(corpus, groups[rest], rest, wanted, data.split_seed)
    return names


def _check_number(corpus: Corpus, groups: np.ndarray, least: int) -> None:
    number = len(np.unique(groups))
    if number < least:
        what = {"text": "texts", "chat": "chats", "pairs": "pairs"}[corpus.kind]
        joined = "; join texts into one file to divide it by position" if what == "texts" else ""
        raise DataProblem(
            f"data: {number} distinct {what} or groups are too few; at least {least} are needed, "
            f"one for each split{joined}."
        )


def _fill(
    corpus: Corpus, groups: np.ndarray, numbers: np.ndarray, wanted: dict[str, float], seed: int
) -> np.ndarray:
    """Assign whole groups: large ones by size, the rest in the order of a hash of their content.

    So adding texts later moves few others from one split to another.
    """
    _, member_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member_of, weights=corpus.sizes()[numbers])
    draws = [b"\xff"] * len(sizes)
    for group, number in zip(member_of, numbers, strict=True):
        draws[group] = min(draws[group], _draw(seed, corpus.keys[number]))
    shares = {TRAIN: 1.0 - sum(wanted.values()), **wanted}
    total = sizes.sum()
    missing = {name: share * total for name, share in shares.items()}
    limit = LARGE * min(missing.values())
    names = np.full(len(sizes), "", dtype=object)
    large = np.flatnonzero(sizes > limit)
    for group in sorted(large, key=lambda g: (-sizes[g], draws[g])):
        best = max(missing, key=lambda name: (missing[name] - sizes[group]) / shares[name])
        names[group] = best
        missing[best] -= sizes[group]
    small = sorted(np.flatnonzero(names == ""), key=lambda g: draws[g])
    for name in wanted:
        while small and missing[name] > 0:
            group = small.pop(0)
            names[group] = name
            missing[name] -= sizes[group]
    names[np.array(small, dtype=int)] = TRAIN
    _fill_gaps(names, sizes, list(shares))
    return names[member_of]


def _fill_gaps(names: np.ndarray, sizes: np.ndarray, splits: list[str]) -> None:
    """Move the smallest group of the split with most groups into each split without one."""
    for split in reversed(splits):
        if np.any(names == split):
            continue
        fullest = Counter(names).most_common(1)[0][0]
        candidates = np.flatnonzero(names == fullest)
        names[candidates[sizes[candidates].argmin()]] = split


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()


def _divide_by_position(corpus: Corpus, data: DataConfig) -> dict[str, list[Span]]:
    whole = corpus.span(0)
    size = whole.end - whole.start
    train = 1 - data.validation_fraction - data.test_fraction
    first = _find_border(corpus, whole, whole.start + round(size * train))
    second = whole.start + round(size * (train + data.validation_fraction))
    second = _find_border(corpus, whole, max(second, first))
    places = [whole.start, first, second, whole.end]
    spans = [Span(0, *ends) for ends in pairwise(places)]
    for name, span in zip(SPLITS, spans, strict=True):
        if not corpus.bytes(span.start, min(span.end, span.start + CHUNK)).strip():
            raise DataProblem(
                f"data: {corpus.ids[0]}: a text of {size} bytes is too short; nothing is left for "
                f"the {name} split."
            )
    return {name: [span] for name, span in zip(SPLITS, spans, strict=True)}


def _find_border(corpus: Corpus, whole: Span, place: int) -> int:
    """Return a border of paragraphs, lines or words shortly before ``place``."""
    window = min(WINDOW, (whole.end - whole.start) // 20)
    start = corpus.character_start(max(place - window, whole.start), whole.end)
    end = corpus.character_start(place, whole.end)
    text = corpus.bytes(start, end).decode()
    return start + len(text[: find_border(text)].encode())
