"""The record of a project: what it was made from, in ``.aistart/``.

``answers.toml`` is for people, ``aistart new --answers`` and ``aistart doctor``. ``pristine.xz``
holds the same again, so that an edit is noticed, and the fingerprints of the files as rendered.
"""

import json
import lzma
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from aistart import __version__
from aistart.catalog import is_template_path
from aistart.errors import AistartError, UsageProblem, format_value
from aistart.quoting import quote
from aistart.shell import join_command
from aistart.update.fingerprints import SIZE, Fingerprints, Pristine
from aistart.update.scratch import run_git
from aistart.update.trees import RECORD_PATHS, Tree
from aistart.versions import parse_release

if TYPE_CHECKING:
    from aistart.project import Request
    from aistart.sources import Source

ANSWERS, PRISTINE = RECORD_PATHS
_COMMENT = (
    "# What this project was made from, for `aistart update`: keep it, and change it with that.\n"
)
_COPY = "restore it from a copy of the project"
_FORMAT = 1
_PRESET = 0  # most of it is fingerprints, which higher presets make no smaller
_MAX_SIZE = 64_000_000  # bytes, unpacked
_BLOB_SIZE = 20
_NO_LINES = -1


class RecordProblem(UsageProblem):
    """The record of a project is missing, edited, broken, or of a newer aistart."""


class NoPristine(RecordProblem):
    """The project has an ``answers.toml``, but not its pristine files, as those made by 0.1.0."""


@dataclass(frozen=True)
class RecordSource:
    """Where a foreign template comes from.

    Attributes:
        reference: what the user typed, without a password; a folder relative to the project.
        directory: the template's folder in it.
        checkout: branch, tag or commit that the user named.
        commit: of the repository.
    """

    reference: str
    directory: str | None = None
    checkout: str | None = None
    commit: str | None = None

    def locate(self, project: Path) -> str:
        """Return the reference as ``open_source`` takes it from any current folder.

        Args:
            project: the project's folder.
        """
        is_folder = self.reference.startswith(".") or Path(self.reference).is_absolute()
        return (
            os.path.normpath(project.absolute() / self.reference) if is_folder else self.reference
        )


@dataclass(frozen=True)
class Record:
    """What a project was made from.

    Attributes:
        template: the template's name.
        aistart: the version that made or updated it.
        features: names.
        answers: by question.
        year: in which it was made, for the licence.
        source: of a foreign template; None for one that comes with aistart.
        files: the pristine files by path.
    """

    template: str
    aistart: str
    features: tuple[str, ...]
    answers: Mapping[str, str]
    year: int
    source: RecordSource | None = None
    files: Mapping[str, Pristine] = field(default_factory=dict)

    def with_tree(self, tree: Tree) -> "Record":
        """Return the record with the files of a tree as its pristine files."""
        fingerprints = Fingerprints()
        files = {
            path: fingerprints.take(path, entry.mode, entry.content)
            for path, entry in sorted(tree.items())
        }
        return replace(self, files=files)


def build_record(request: "Request", source: "Source | None", tree: Tree) -> Record:
    """Build the record of a project.

    Args:
        request: the project.
        source: of its template, which knows the commit; None: there is none.
        tree: its files as rendered.
    """
    template = request.template
    record_source = None
    if not template.is_built_in:
        record_source = RecordSource(
            _portable_reference(template.reference, request.target),
            template.directory,
            template.origin.checkout,
            source.commit if source else None,
        )
    features, answers = tuple(request.features), dict(request.answers)
    record = Record(template.name, __version__, features, answers, request.year, record_source)
    return record.with_tree(tree)


def _portable_reference(reference: str, project: Path) -> str:
    """Return a reference that holds no secret, and no path of this machine if that is avoidable."""
    if Path(reference).is_dir():
        try:
            relative = os.path.relpath(os.path.realpath(reference), os.path.realpath(project))
        except ValueError:  # on Windows, another drive
            return str(Path(reference).resolve())
        return PurePosixPath(*Path(relative).parts).as_posix()
    # The record is committed: a token in an address would be, too.
    return re.sub(r"^(https?://)[^/@]*@|^(\w+://[^/@:]*):[^/@]*(?=@)", r"\1\2", reference)


def record_files(record: Record) -> dict[str, bytes]:
    """Return the contents of the files of a record by their paths in the project."""
    return {ANSWERS: _format_answers(record).encode(), PRISTINE: _pack(record)}


def write_record(project: Path, record: Record) -> None:
    """Write the files of a record."""
    for path, content in record_files(record).items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_bytes(content)


def read_record(project: Path) -> Record:
    """Read and verify a record.

    Raises:
        NoPristine: there is only ``answers.toml``.
        RecordProblem: it is missing, was edited, is broken, or of a newer aistart.
    """
    path = project / PRISTINE
    if not os.path.lexists(path):
        maker = read_answers_only(project).aistart  # first of all, whether it is a project
        raise NoPristine(
            f"record: {str(project)!r}, made by aistart {maker}, has no {PRISTINE}; restore it "
            "from your repository, or name the commit in it that holds the project as it was made: "
            "`aistart update --base REVISION`."
        )
    record = _read_pristine(project)
    if not os.path.lexists(project / ANSWERS):
        raise RecordProblem(
            f"record: {ANSWERS} was deleted; {_explain_restoring(project, ANSWERS)}"
        )
    difference = _find_difference(_read_answers(project), _as_table(record))
    if difference:
        raise RecordProblem(
            f"record: {ANSWERS} was edited ({difference}) and no longer says what the project was "
            f"made from; {_explain_restoring(project, ANSWERS)}; then answer anew with "
            "`aistart update --set KEY=VALUE`, and change features with `aistart add` and `remove`."
        )
    return record


def read_answers_only(project: Path) -> Record:
    """Read ``answers.toml`` alone, to a record without files, whose year is the present one.

    Raises:
        RecordProblem: it is missing, broken, or of a newer aistart.
    """
    table = _read_answers(project)
    try:
        return _parse_record({"year": date.today().year, **table}, {})
    except (KeyError, TypeError, ValueError) as error:
        raise RecordProblem(_broken(project, ANSWERS, _reason(error))) from None


def _read_answers(project: Path) -> dict[str, Any]:
    path = project / ANSWERS
    if not os.path.lexists(path):
        raise RecordProblem(
            f"PROJECT: {str(project)!r} is not a project of aistart: it has no {ANSWERS}."
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordProblem(_broken(project, ANSWERS, _reason(error))) from None
    _check_versions(table, project)
    return table


def _check_versions(table: Mapping[str, Any], project: Path) -> None:
    """Raise RecordProblem if a newer aistart wrote the record, which may mean more than we know."""
    version = str(table.get("aistart", ""))
    if parse_release(version) > parse_release(__version__) or table.get("format", 0) > _FORMAT:
        raise RecordProblem(
            f"record: {str(project)!r} was made or updated by aistart {format_value(version)[1:-1]}"
            f", and this is {__version__}: install the newer one first."
        )


def _read_pristine(project: Path) -> Record:
    path = project / PRISTINE
    try:
        content = lzma.LZMADecompressor(memlimit=100_000_000).decompress(
            path.read_bytes(), _MAX_SIZE
        )
        head, _, body = content.partition(b"\n")
        table = json.loads(head)
        _check_versions(table, project)
        return _parse_record(table, _unpack_files(table["files"], body))
    except RecordProblem:
        raise
    except Exception as error:  # it may hold anything
        raise RecordProblem(_broken(project, PRISTINE, _reason(error))) from None


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return " ".join(str(text).split()) or type(error).__name__


def _broken(project: Path, path: str, reason: str) -> str:
    return f"record: {path} is broken ({reason}); {_explain_restoring(project, path)}"


def _explain_restoring(project: Path, path: str) -> str:
    """Return how to get back the last whole version of a file of the record."""
    try:
        is_committed = not run_git("status", "--porcelain", "--", path, folder=project)
        words = ("log", "-2", "--format=%h", "--", PRISTINE)
        commits = run_git(*words, folder=project).decode().split()
    except AistartError:  # no repository, or no git
        return _COPY
    if is_committed and path == PRISTINE:
        del commits[:1]
    if not commits:
        return _COPY
    # Every update writes both files, and pristine.xz always becomes another one.
    source = ["--source", commits[0]] if is_committed else []
    return f"restore it: {join_command('git', '-C', str(project), 'restore', *source, path)}"


def _parse_record(table: Mapping[str, Any], files: Mapping[str, Pristine]) -> Record:
    """Build a record from what a file holds.

    Raises:
        ValueError, KeyError, TypeError: it is no record.
    """
    answers, features, source = table["answers"], table["features"], table.get("source")
    texts = [table["template"], table["aistart"], *features, *answers, *answers.values()]
    if source is not None:
        texts += [value for value in source.values() if value is not None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a value is no text")
    return Record(
        template=table["template"],
        aistart=table["aistart"],
        features=tuple(features),
        answers=dict(answers),
        year=int(table["year"]),
        source=None if source is None else RecordSource(**source),
        files=files,
    )


def _as_table(record: Record) -> dict[str, Any]:
    """Return what ``answers.toml`` says."""
    table: dict[str, Any] = {
        "template": record.template,
        "aistart": record.aistart,
        "features": list(record.features),
    }
    if record.source:
        source = asdict(record.source)
        table["source"] = {key: value for key, value in source.items() if value is not None}
    return table | {"answers": dict(record.answers)}


def _format_answers(record: Record) -> str:
    table = _as_table(record)
    lines = [_COMMENT]
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(f"\n[{key}]\n")
            lines += [f"{_format_key(name)} = {quote(text)}\n" for name, text in value.items()]
        else:
            lines.append(f"{key} = {quote(value)}\n")
    return "".join(lines)


def _format_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quote(key)


def _find_difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return the names of what differs, of answers each; empty if nothing does."""
    names = []
    for key in dict.fromkeys([*expected, *found]):
        values = found.get(key), expected.get(key)
        if values[0] == values[1]:
            continue
        if isinstance(values[0], dict) and isinstance(values[1], dict):
            inner = dict.fromkeys([*values[1], *values[0]])
            names += [name for name in inner if values[0].get(name) != values[1].get(name)]
        else:
            names.append(key)
    return ", ".join(names)


def _pack(record: Record) -> bytes:
    files = record.files
    head = {
        "format": _FORMAT,
        "year": record.year,
        **_as_table(record),
        "files": [
            [
                path,
                file.mode,
                file.size,
                _NO_LINES if file.lines is None else len(file.lines) // SIZE,
                int(file.has_crlf),
                int(file.ends),
            ]
            for path, file in files.items()
        ],
    }
    parts = [
        json.dumps(head, separators=(",", ":")).encode(),
        b"\n",
        *(file.blob for file in files.values()),
        *(file.lines or b"" for file in files.values()),
    ]
    return lzma.compress(b"".join(parts), preset=_PRESET)


def _unpack_files(rows: list[list[Any]], body: bytes) -> dict[str, Pristine]:
    files = {}
    start = _BLOB_SIZE * len(rows)
    for index, (path, mode, size, count, crlf, ends) in enumerate(rows):
        if not is_template_path(path) or path in ("", "."):  # it could lead anywhere
            raise ValueError(f"{format_value(path)} lies outside of the project")
        blob = body[index * _BLOB_SIZE :][:_BLOB_SIZE]
        lines = None if count == _NO_LINES else body[start : start + SIZE * count]
        start += SIZE * max(count, 0)
        files[path] = Pristine(mode, blob, size, lines, bool(crlf), bool(ends))
    if start != len(body):
        raise ValueError("it ends too early")
    return files
