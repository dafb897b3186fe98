"""The topics of Python's own help (``help("if")``): English texts that every Python has.

Some topics contain others: ``compound`` has the texts of ``if`` and ``for``. Such topics are a
group, so that nothing of the test split can be read in the training split.
"""

import re
from collections import Counter
from collections.abc import Iterator

from .corpus import Row

SHARED = 0.3  # of a topic's paragraphs, from which on two topics are a group
SHORTEST = 40  # characters of a paragraph that counts


def rows() -> Iterator[Row]:
    """Yield a text for each topic, in the order of their names."""
    from pydoc_data.topics import topics

    groups = _group({name: _paragraphs(topics[name]) for name in sorted(topics)})
    for name in sorted(topics):
        yield Row(name, topics[name], group=groups[name])


def _paragraphs(text: str) -> set[str]:
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return {part for part in parts if len(part) > SHORTEST}


def _group(paragraphs: dict[str, set[str]]) -> dict[str, str]:
    """Return each topic's group, named after one of its topics."""
    group = {name: name for name in paragraphs}
    holders: dict[str, list[str]] = {}
    for name, parts in paragraphs.items():
        for part in parts:
            holders.setdefault(part, []).append(name)
    shared = Counter(
        (first, second)
        for names in holders.values()
        for first in names
        for second in names
        if first < second
    )
    for (first, second), count in sorted(shared.items()):
        if count >= SHARED * min(len(paragraphs[first]), len(paragraphs[second])):
            old, new = group[second], group[first]
            group = {name: new if own == old else own for name, own in group.items()}
    return group
