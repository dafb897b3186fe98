"""Random merges: fingerprints merge as the whole text would, and no line of the user's is lost.

``AISTART_MERGES=5000`` makes more of them.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from aistart.update import merge as merging
from aistart.update.fingerprints import Pristine, has_crlf, is_binary, to_lf
from aistart.update.merge import merge
from aistart.update.record import Record
from aistart.update.trees import Entry, MergeResult, Tree

COUNT = int(os.environ.get("AISTART_MERGES", "200"))
NAMES = (
    "a.py",
    "src/b.py",
    "src/c d.py",
    "src/é\n.py",
    "docs/e.md",
    "docs/deep/f",
    "g.lock",
    "h.bin",
)
WORDS = ("", "x", "}", "    return value", "import os", "\u00e9\u4e2d", "# " + "-" * 90)


class Story:
    """A random template, a new version of it, and a project that a user edited."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self.base = {name: self._make_file(name) for name in self._sample(NAMES)}
        self.ours = self._change(self.base, "ours")
        self.theirs = self._change(self.base, "theirs")

    def _sample(self, values: tuple[str, ...]) -> list[str]:
        return self._random.sample(values, self._random.randint(1, len(values)))

    def _make_file(self, name: str) -> Entry:
        if name.endswith(".bin"):
            return Entry("100644", b"\0" + self._random.randbytes(50))
        lines = [self._make_line("base") for _ in range(self._random.choice((0, 1, 5, 20, 60)))]
        text = b"\n".join(lines) + b"\n" * self._random.choice((0, 1, 1, 1))
        if self._random.random() < 0.1:
            text = text.replace(b"\n", b"\r\n")
        return Entry(self._random.choice(("100644", "100644", "100755")), text)

    def _make_line(self, author: str) -> bytes:
        """Return a line that is like many others, or like none."""
        if author == "base" and self._random.random() < 0.4:
            return self._random.choice(WORDS).encode()
        self._count += 1
        junk = self._random.choice((b"", b"\xff\xfe", b" \r", b"\t"))
        return f"{author} {self._count}.".encode() + junk

    def _change(self, base: Tree, author: str) -> Tree:
        tree = dict(base)
        for name in self._sample(tuple(base)):
            entry = tree[name]
            match self._random.randint(0, 9):
                case 0:
                    del tree[name]
                case 1:
                    tree[f"{name}.{author}"] = tree.pop(name)
                case 2:
                    tree[f"moved/{name}"] = replace(
                        tree.pop(name), content=self._edit(entry, author)
                    )
                case 3:
                    tree[name] = replace(entry, mode="100755")
                case 4:
                    content = to_lf(entry.content).replace(b"\n", b"\r\n")
                    tree[name] = entry if is_binary(content) else replace(entry, content=content)
                case _:
                    tree[name] = replace(entry, content=self._edit(entry, author))
        for name in self._random.sample(("new.py", "src/new.py", "docs/deep/new"), 2):
            tree[name] = Entry("100644", self._make_line(author) + b"\n")
        return tree

    def _edit(self, entry: Entry, author: str) -> bytes:
        if is_binary(entry.content):
            return entry.content + self._make_line(author)
        lines = entry.content.split(b"\n")
        for _ in range(self._random.choice((1, 1, 2, 5, 30))):
            place = self._random.randint(0, len(lines))
            match self._random.randint(0, 3):
                case 0:
                    lines[place : place + self._random.randint(1, 4)] = []
                case 1:
                    lines[place : place + 1] = [self._make_line(author)]
                case 2:
                    lines[place:place] = self._random.sample(lines, min(len(lines), 2))
                case _:
                    lines.insert(place, self._make_line(author))
        return b"\n".join(lines)


def lines_of(tree: Mapping[str, Entry], author: str) -> set[bytes]:
    """The lines in a tree that only this author wrote."""
    contents = [to_lf(e.content) if has_crlf(e.content) else e.content for e in tree.values()]
    lines = {line.rstrip(b"\r") for content in contents for line in content.split(b"\n")}
    return {line for line in lines if line.startswith(f"{author} ".encode())}


def conflict_side(result: MergeResult) -> Tree:
    return {c.path: c.theirs for c in result.conflicts if c.theirs is not None}


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_merge(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(seed)
    base, ours, theirs = story.base, story.ours, story.theirs
    record = Record("team", "0.2.0", (), {}, 2026).with_tree(base)
    result = merge(record, ours, theirs, {})

    assert lines_of(result.tree, "ours") == lines_of(ours, "ours"), "a line of the user's is lost"
    pristine_contents = {entry.content for entry in base.values()}
    for entry in ours.values():
        if is_binary(entry.content) and entry.content not in pristine_contents:
            assert entry in result.tree.values(), "a binary file of the user's is lost"
    reported = {*result.kept, *(conflict.path for conflict in result.conflicts)}
    left = {path: entry for path, entry in theirs.items() if path not in reported}
    found = lines_of(result.tree | conflict_side(result), "theirs")
    assert lines_of(left, "theirs") <= found, "a line of the template's is lost"
    assert not any(
        b"\x01" in entry.content for entry in result.tree.values() if not is_binary(entry.content)
    )

    def true_base(pristine: Mapping[str, Pristine], *_: Tree) -> Tree:
        def lf(entry: Entry) -> Entry:
            is_text = has_crlf(entry.content) and not is_binary(entry.content)
            return replace(entry, content=to_lf(entry.content)) if is_text else entry

        return {path: lf(base[path]) for path in pristine}

    monkeypatch.setattr(merging, "rebuild_base", true_base)
    assert merge(record, ours, theirs, {}) == result, "the whole text merges otherwise"
    monkeypatch.undo()
    if seed % 4 == 0:
        unedited = merge(record, base, theirs, {})
        assert unedited.tree == theirs
        assert unedited.conflicts == []
    elif seed % 4 == 1:
        same = merge(record, ours, ours, {})
        assert same.tree == ours
        assert same.conflicts == []
    elif seed % 4 == 2:
        unchanged = merge(record, ours, base, {})
        assert unchanged.tree == ours
        assert unchanged.conflicts == []
