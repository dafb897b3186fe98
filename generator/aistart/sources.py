"""From what a user types to a template: a built-in name, a folder, or a git repository."""

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from aistart.catalog import (
    Origin,
    Template,
    find_template,
    find_templates,
    foreign_template,
    is_part,
)
from aistart.errors import AistartError, UsageProblem, unknown
from aistart.manifest import MANIFEST
from aistart.staging import staged

log = logging.getLogger(__name__)

_HOSTS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}.git",
}
_SCHEMES = ("https", "http", "ssh", "git", "file")
_DEEPEST = 100  # folders in each other; what walks through them calls itself for each
_REVISION = re.compile(r"[\w][\w./+@^~-]*")
_AT_HOST = re.compile(r"[\w.-]+@[\w.-]+:[^:].*")  # git@github.com:owner/repository.git


@dataclass(frozen=True)
class Source:
    """Where a template comes from.

    Attributes:
        template: what is there.
        address: folder or URL that trust is given to; '' of a built-in one.
        version: commit, or a hash of all that the folder holds.
        root: the template's folder.
        commit: of a repository.
    """

    template: Template
    address: str = ""
    version: str = ""
    root: Path = Path()
    commit: str | None = None


@contextmanager
def open_source(word: str, checkout: str | None, directory: str | None) -> Iterator[Source]:
    """The template that a word names; a repository is there until the end of the context.

    Args:
        checkout: branch, tag or commit of a repository.
        directory: the template's folder in a repository or folder.

    Raises:
        UsageProblem: there is no such template, or it is not to be used.
        AistartError: git fails.
    """
    url = _url(word)
    if url is None and not _is_folder(word):
        if checkout is not None or directory is not None:
            raise UsageProblem("--checkout and --directory are for templates in a repository.")
        yield Source(find_template(word))
        return
    if url is None:
        if checkout is not None:
            raise UsageProblem("--checkout: it is for a repository, not for a folder.")
        folder = Path(word).resolve()
        if not (folder / (directory or ".") / MANIFEST).is_file():
            raise UsageProblem(f"template: {word!r} has no {MANIFEST}.")
        _check_depth(folder)
        source = _foreign(word, folder, directory, str(folder))
        yield _told(replace(source, version=_hash_of(folder)), word, directory, None)
        return
    if checkout is not None and not _REVISION.fullmatch(checkout):
        raise UsageProblem(f"--checkout: {checkout!r} is not a branch, tag or commit.")
    with staged() as stage:
        clone = stage / (PurePosixPath(url).name.removesuffix(".git") or "template")
        _git(stage, "clone", "--quiet", "--no-recurse-submodules", "--", url, clone.name)
        if checkout is not None:
            _git(clone, "checkout", "--quiet", checkout, "--")
        commit = _git(clone, "rev-parse", "HEAD").strip()
        _check_depth(clone)
        source = replace(_foreign(word, clone, directory, url), version=commit, commit=commit)
        yield _told(source, str(clone), directory, checkout)


def _told(source: Source, place: str, directory: str | None, checkout: str | None) -> Source:
    """The source with what its template's code is told of it.

    Args:
        place: of the folder or clone.
    """
    repo_dir = f"{place.rstrip('/')}/{directory}" if directory else place
    template = source.template
    origin = Origin(template.word, repo_dir, checkout)
    return replace(source, template=replace(template, origin=origin, directory=directory))


def _url(word: str) -> str | None:
    """The repository's address, or None if the word is no address."""
    host, colon, rest = word.partition(":")
    if colon and host in _HOSTS:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", rest):
            raise UsageProblem(f"template: {word!r} is not of the form {host}:owner/repository.")
        return _HOSTS[host].format(rest.removesuffix(".git"))
    if "::" in word:
        raise UsageProblem(f"template: {word!r}: git's remote helpers are not allowed.")
    scheme, separator, _ = word.partition("://")
    if separator:
        if scheme not in _SCHEMES:
            raise UsageProblem(
                f"template: {scheme!r} is not one of the allowed schemes: {', '.join(_SCHEMES)}."
            )
        return word
    return word if _AT_HOST.fullmatch(word) else None


def _is_folder(word: str) -> bool:
    if word in find_templates():
        return False
    if Path(word).is_dir():
        return True
    looks_like_a_path = any(mark in word for mark in (os.sep, "/", "~")) or word.startswith(".")
    if looks_like_a_path:
        raise UsageProblem(f"template: {word!r} is not a folder.")
    raise unknown("template", word, find_templates())


def _foreign(word: str, root: Path, directory: str | None, address: str) -> Source:
    path = PurePosixPath(directory or ".")
    folder = (root / path).resolve()
    if not is_part(directory or ".") or not folder.is_relative_to(root.resolve()):
        raise UsageProblem(f"--directory: {directory!r} lies outside of the template's source.")
    if not folder.is_dir():
        raise UsageProblem(f"--directory: {directory!r} is not a folder of {word!r}.")
    _check_links(root.resolve(), folder)
    # Trust is given to what was shown, which lies in this folder.
    place = address if folder == root.resolve() else f"{address}//{path}"
    return Source(foreign_template(folder, word), place, root=folder)


def _check_depth(folder: Path) -> None:
    """Raises UsageProblem if folders lie deeper in each other than any template needs."""
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > _DEEPEST:
            raise UsageProblem(f"template: it has folders more than {_DEEPEST} deep.")
        with os.scandir(place) as entries:
            waiting += [
                (Path(entry.path), depth + 1)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]


def _check_links(root: Path, folder: Path) -> None:
    """No link leads out of the source, nor into what git keeps in it: what it points to would be
    copied into the project, or run, and is no part of the version that is trusted."""
    for path in _held(root):
        if not path.is_symlink():
            continue
        # realpath, unlike resolve, stands a link that leads to itself.
        leads_to = Path(os.path.realpath(path))
        inside = leads_to.is_relative_to(root) and not leads_to.is_relative_to(root / ".git")
        is_broken = path.is_relative_to(folder) and not path.exists()
        if not inside or is_broken:
            name = path.relative_to(folder if path.is_relative_to(folder) else root)
            raise UsageProblem(f"template: the link {name.as_posix()!r} leads out of the template.")


def _held(root: Path) -> Iterator[Path]:
    """All files, folders and links, in order, but what git keeps in the folder itself."""
    for path in sorted(root.rglob("*")):
        if path.relative_to(root).parts[0] != ".git":
            yield path


def _hash_of(folder: Path) -> str:
    """Of all that can run: texts and names, which are code where they hold Jinja, of empty folders
    too, and where links lead."""
    import hashlib

    made = hashlib.sha256()
    for path in _held(folder):
        is_link, is_file = path.is_symlink(), path.is_file()
        kind = "link" if is_link else "file" if is_file else "folder"
        held = str(path.readlink() if is_link else path.stat().st_size if is_file else "")
        name = path.relative_to(folder).as_posix()
        made.update(os.fsencode(f"{kind}\0{name}\0{held}\0"))
        if is_file and not is_link:
            with path.open("rb") as file:
                made.update(hashlib.file_digest(file, "sha256").digest())
    return made.hexdigest()


def _git(folder: Path, *words: str) -> str:
    log.debug("git %s", " ".join(words))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
        "GIT_TERMINAL_PROMPT": "0",
    }
    # Neither a template hook of the user's nor a filter may run before there is trust.
    safe = ("-c", f"core.hooksPath={os.devnull}", "-c", "init.templateDir=")
    try:
        done = subprocess.run(
            ["git", *safe, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise AistartError("template: git is not installed, and it is in a repository.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        # After what is fatal git gives advice.
        raise AistartError(f"git: {next((s for s in lines if s.startswith('fatal: ')), lines[-1])}")
    return done.stdout
