"""Random templates, random changes of them, random edits of a project; and what must hold.

Each line that a user writes and each that a new version of a template brings is unique, so that
both can be looked for after the update.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from aistart.answers import resolve_defaults
from aistart.catalog import load_foreign_template
from aistart.project import Request, create
from aistart.sources import Source
from aistart.update.proposal import Proposal, propose
from aistart.update.record import read_record
from aistart.update.story import begin, find_marked
from aistart.update.transaction import Transaction
from aistart.update.trees import Tree as Rendered
from aistart.update.trees import render_tree
from tests.generator.updates import Files, read_project, write_files, write_template

FOLDERS = ("", "src/", "src/engine/", "tests/", "docs/deep/er/")
NAMES = ("a.py", "b.py", "c.txt", "run.sh", "d.bin", "e.lock", "notes", "f.md")
WORDS = ("alpha", "beta", "gamma", "", "    return value", "import os", "# ---", "}")
IGNORED = "runs/"
BINARY = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\xff\xfe" * 4 + b"\n"

Tree = dict[str, bytes]  # by name as in ``write_files``


@dataclass
class Scenario:
    """One story of a template and a project.

    Attributes:
        seed: of all that is random in it.
        folder: an empty folder to play it in.
        problems: what did not hold.
    """

    seed: int
    folder: Path
    problems: list[str] = field(default_factory=list)
    conflicts: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        self._rendered: Rendered | None = None
        self._random = random.Random(self.seed)

    def run(self) -> list[str]:
        """Play it and return what did not hold."""
        first = self._make_files()
        second = self._change(first, "t2")
        third = self._change(second, "t3")
        project = self._create(first, "edited/demo")
        unedited, at_once = self._copy(project, "unedited"), self._copy(project, "at_once")
        edits = self._edit(project)
        for version, files in (("second", second), ("third", third)):
            self._write_template(files)
            self._update_edited(project, edits, version)
            self._update(unedited)
        self._update(at_once)
        fresh = read_project(self._create(third, "fresh/demo"))
        self._expect(read_project(unedited) == fresh, "an unedited project differs from a new one")
        self._expect(read_project(at_once) == fresh, "two updates differ from one")
        return self.problems

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(f"seed {self.seed}: {problem}")

    # --- Random trees ---

    def _line(self, author: str) -> str:
        self._count += 1
        return f"{author} {self._count} {self._random.choice(WORDS)}"

    def _text(self, author: str, unique: float) -> bytes:
        """Return random lines: many alike, as in code, and some that no other file has."""
        pick = self._random
        lines = [
            self._line(author) if pick.random() < unique else pick.choice(WORDS)
            for _ in range(pick.choice((0, 1, 5, 20, 40)))
        ]
        end = pick.choice(("\n", "\n", "\n", "\r\n"))
        return (end.join(lines) + (end if pick.random() < 0.9 else "")).encode()

    def _content(self, name: str, author: str, unique: float = 0.5) -> bytes:
        if name.rstrip("*").endswith(".bin"):
            return BINARY + self._line(author).encode() + b"\n"
        return self._text(author, unique)

    def _name(self, taken: Files) -> str:
        """Return a path that is free, and below or above no file."""
        while True:
            name = self._random.choice(FOLDERS) + self._random.choice(NAMES)
            if self._random.random() < 0.15:
                name += f"/{self._random.choice(NAMES)}"
            others = {other.rstrip("*") for other in taken}
            is_free = all(
                other != name
                and not other.startswith(f"{name}/")
                and not name.startswith(f"{other}/")
                for other in others
            )
            if is_free:
                return name + "*" * (self._random.random() < 0.1)
            if len(others) > 25:
                return f"more/{self._line('n').split()[1]}.txt"

    def _make_files(self) -> Tree:
        files: Tree = {".gitignore": b"/runs/\n"}
        for _ in range(self._random.randint(3, 10)):
            name = self._name(files)
            files[name] = self._content(name, "t1")
        return files

    def _change_text(self, content: bytes, author: str) -> bytes:
        if b"\0" in content:
            return BINARY + self._line(author).encode() + b"\n"
        end = b"\r\n" if b"\r\n" in content else b"\n"
        lines = content.split(end)
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randrange(len(lines))
            kind = self._random.random()
            new = self._line(author).encode()
            if kind < 0.4:
                lines[at] = new
            elif kind < 0.8:
                lines.insert(at, new)
            elif len(lines) > 2:
                del lines[at]
        if self._random.random() < 0.05:
            end = b"\n" if end == b"\r\n" else b"\r\n"
        return end.join(lines)

    def _change(self, files: Tree, author: str) -> Tree:
        """Return the next version of a template's files."""
        changed = dict(files)
        for name in [name for name in files if name != ".gitignore"]:
            kind = self._random.random()
            content = changed[name]
            if kind < 0.4:
                changed[name] = self._change_text(content, author)
            elif kind < 0.5:
                del changed[name]
            elif kind < 0.6:  # renamed, perhaps changed
                del changed[name]
                if self._random.random() < 0.5:
                    content = self._change_text(content, author)
                changed[self._name(changed)] = content
            elif kind < 0.65:  # executable, or no longer
                del changed[name]
                changed[name[:-1] if name.endswith("*") else f"{name}*"] = content
            elif kind < 0.68:  # a folder in the place of a file
                del changed[name]
                changed[f"{name.rstrip('*')}/{self._random.choice(NAMES)}"] = content
        for _ in range(self._random.randint(0, 3)):
            name = self._name(changed)
            changed[name] = self._content(name, author, 0.8)
        return changed

    def _edit(self, project: Path) -> dict[str, bytes]:
        """Edit a project as a user does; return the lines and binary contents that are theirs."""
        before = read_project(project, record=False)
        pick = self._random
        for name in [name for name in before if name != ".gitignore"]:
            path, kind = project / name, pick.random()
            if kind < 0.35:
                path.write_bytes(self._change_text(path.read_bytes(), "u"))
            elif kind < 0.42:
                path.unlink()
            elif kind < 0.50:
                target = project / pick.choice(FOLDERS) / f"mine_{path.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
                if pick.random() < 0.5:
                    target.write_bytes(self._change_text(target.read_bytes(), "u"))
            elif kind < 0.55:
                path.chmod(path.stat().st_mode ^ 0o111)
            elif kind < 0.58 and b"\0" not in path.read_bytes():
                path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            elif kind < 0.61:
                path.unlink()
                write_files(path, {"inside.txt": self._line("u")})
            elif kind < 0.64:
                path.unlink()
                path.symlink_to("/nowhere/" + self._line("u").replace(" ", "_"))
        for folder in ("", "src/", "own/", IGNORED):
            name = folder + pick.choice(NAMES)
            if not os.path.lexists(project / name) and not (project / folder).is_file():
                content = self._content(name, "u", 0.8)
                write_files(project, {name: content})
        after = read_project(project, record=False)
        return {
            line.strip().decode("utf-8", "replace"): line.strip()
            for kind, content in after.values()
            for line in content.split(b"\n")
            if line.startswith(b"u ") or kind == "link"
        }

    # --- The story ---

    def _write_template(self, files: Tree) -> Source:
        folder = self.folder / "template"
        write_template(folder, files)
        self._rendered = None
        return Source(load_foreign_template(folder, str(folder)), root=folder)

    def _create(self, files: Tree, place: str) -> Path:
        source = self._write_template(files)
        parent = (self.folder / place).parent
        answers = resolve_defaults(source.template, {"project_slug": Path(place).name})
        return create(Request(source.template, answers, parent, repository=False), source)

    def _copy(self, project: Path, place: str) -> Path:
        return shutil.copytree(project, self.folder / place / project.name, symlinks=True)

    def _propose(self, project: Path) -> Proposal:
        folder = self.folder / "template"
        source = Source(load_foreign_template(folder, str(folder)), root=folder)
        with patch("aistart.update.proposal.render_tree", self._render):
            return propose(project, read_record(project), source)

    def _render(self, request: Request) -> Rendered:
        """Render each version of the template once: most of the time would go into that."""
        if self._rendered is None:
            self._rendered = render_tree(request)
        return self._rendered

    def _update(self, project: Path) -> None:
        proposal = self._propose(project)
        self._expect(not proposal.result.conflicts, "a conflict in an unedited project")
        if transaction := begin(proposal, "the update"):
            transaction.apply()
            self._expect(transaction.is_finished, "an update of an unedited project waits")

    def _update_edited(self, project: Path, edits: dict[str, bytes], version: str) -> None:
        before = read_project(project)
        proposal = self._propose(project)
        self._expect(read_project(project) == before, f"{version}: looking changed files")
        transaction = begin(proposal, "the update")
        if transaction is None:
            return
        transaction.apply()
        self._check_content(project, before, edits, proposal, version)
        if not transaction.is_finished:
            self.conflicts += 1
            self._go_back_and_forth(project, before, transaction, version)
        again = self._propose(project)
        self._expect(
            not again.changes and not again.result.conflicts,
            f"{version}: the same again changes files",
        )

    def _go_back_and_forth(
        self, project: Path, before: object, transaction: Transaction, version: str
    ) -> None:
        after = read_project(project)
        transaction.abort()
        self._expect(read_project(project) == before, f"{version}: --abort does not restore")
        second = begin(self._propose(project), "the update")
        assert second is not None
        second.apply()
        self._expect(read_project(project) == after, f"{version}: a second time differs")
        for path in find_marked(second):  # the user takes both sides
            lines = (project / path).read_bytes().split(b"\n")
            marks = (b"<<<<<<<", b"=======", b">>>>>>>")
            kept = [line for line in lines if not line.startswith(marks)]
            (project / path).write_bytes(b"\n".join(kept))
        self._expect(not find_marked(second), f"{version}: markers stay")
        second.finish()

    def _check_content(
        self,
        project: Path,
        before: dict[str, tuple[str, bytes]],
        edits: dict[str, bytes],
        proposal: Proposal,
        version: str,
    ) -> None:
        state = project / ".aistart/update"
        folder = state / ("current" if (state / "current").exists() else "last")
        after = read_project(project)
        contents = {content for _, content in after.values()}
        backup = {content for _, content in read_project(folder / "backup").values()}
        for name, (_, content) in before.items():
            self._expect(content in contents | backup, f"{version}: bytes of {name} are lost")
        whole = b"\n".join(contents)
        for line in edits.values():
            self._expect(line in whole, f"{version}: the user's {line!r} is gone")
        for path, change in ((c.path, c) for c in proposal.changes):
            if change.before is None and path in before:
                self._expect(False, f"{version}: {path} was taken for new")
        self._check_nothing_is_silent(proposal, whole, folder, version)

    def _check_nothing_is_silent(
        self, proposal: Proposal, whole: bytes, folder: Path, version: str
    ) -> None:
        """Each new line of the template is in the project, or in a file that is listed."""
        theirs = b"\n".join(content for _, content in read_project(folder / "theirs").values())
        listed = {*(c.path for c in proposal.result.conflicts), *proposal.result.kept}
        old = {file.blob for file in proposal.old.files.values()}
        for path, file in proposal.new.files.items():
            if file.blob in old or path in listed:
                continue
            content = self.folder / "template" / "{{ cookiecutter.project_slug }}" / path
            for line in content.read_bytes().split(b"\n"):
                mark = line.strip()
                if mark.startswith((b"t2 ", b"t3 ")) and mark not in whole + theirs:
                    self._expect(bool(listed), f"{version}: {path}: {mark!r} is nowhere")


def run_scenarios(seeds: Iterable[int]) -> tuple[list[str], int]:
    """Play scenarios in temporary folders; in memory, where that is possible.

    Returns:
        what did not hold, and how many updates had conflicts.
    """
    problems: list[str] = []
    conflicts = 0
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as root,
        patch("tempfile.tempdir", root),
        patch("aistart.update.transaction.flush", list),
    ):
        for seed in seeds:
            place = Path(root, str(seed))
            place.mkdir()
            scenario = Scenario(seed, place)
            try:
                problems += scenario.run()
            except Exception as error:
                problems.append(f"seed {seed}: {type(error).__name__}: {error}")
            conflicts += scenario.conflicts
            shutil.rmtree(place)
    return problems, conflicts
