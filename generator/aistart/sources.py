"""Lookup of a template by what the user types: a built-in name, a folder, or a git repository."""

import logging
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aistart.catalog import (
    Origin,
    Template,
    find_template,
    find_templates,
    is_template_path,
    load_foreign_template,
)
from aistart.errors import AistartError, UsageProblem, unknown_name_error
from aistart.manifest import MANIFEST
from aistart.staging import staging_folder

if TYPE_CHECKING:
    from aistart.profile import TeamTemplate

log = logging.getLogger(__name__)

_HOSTS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}.git",
}
_SCHEMES = ("https", "http", "ssh", "git", "file")
_MAX_DEPTH = 100  # nested folders; the standard library's walks recurse once for each
_REVISION = re.compile(r"[\w][\w./+@^~-]*")
_SCP_ADDRESS = re.compile(r"[\w.-]+@[\w.-]+:[^:].*")  # git@github.com:owner/repository.git


@dataclass(frozen=True)
class Source:
    """A template and where it comes from.

    Attributes:
        template: the template.
        address: the folder or URL that trust is given to; empty for a built-in template.
        version: the commit, or a hash of all that the folder holds.
        root: the template's folder.
        commit: the commit, if it comes from a repository.
    """

    template: Template
    address: str = ""
    version: str = ""
    root: Path = Path()
    commit: str | None = None


@contextmanager
def open_source(
    reference: str,
    checkout: str | None,
    directory: str | None,
    catalogue: Mapping[str, "TeamTemplate"] | None = None,
) -> Iterator[Source]:
    """Find a template; the clone of a repository exists until the end of the context.

    Args:
        reference: a built-in name, one of ``catalogue``, a folder or the address of a repository.
        checkout: branch, tag or commit of a repository.
        directory: the template's folder within the folder or repository.
        catalogue: templates of the profile, by name; what is given wins over their own checkout
            and directory.

    Raises:
        UsageProblem: there is no such template, or a reference that is not allowed.
        AistartError: git fails.
    """
    entry = (catalogue or {}).get(reference)
    if entry is None:
        with _open(reference, checkout, directory, catalogue or {}) as source:
            yield source
        return
    with ExitStack() as stack:
        words = (entry.source, checkout or entry.checkout, directory or entry.directory)
        try:
            source = stack.enter_context(_open(*words, {}))
        except AistartError as error:
            message = f"template: {reference!r} of the profile ({entry.place}): {error.message}"
            raise type(error)(message) from error
        yield source


@contextmanager
def _open(
    reference: str, checkout: str | None, directory: str | None, other_names: Iterable[str]
) -> Iterator[Source]:
    """As ``open_source``, without the catalogue, whose names messages may suggest."""
    url = repository_url(reference)
    if url is None and not _is_folder(reference, other_names):
        if checkout is not None or directory is not None:
            raise UsageProblem("--checkout and --directory are for templates in a repository.")
        yield Source(find_template(reference))
        return
    if url is None:
        if checkout is not None:
            raise UsageProblem("--checkout: it is for a repository, not for a folder.")
        folder = Path(reference).resolve()
        if not (folder / (directory or ".") / MANIFEST).is_file():
            raise UsageProblem(f"template: {reference!r} has no {MANIFEST}.")
        _check_depth(folder)
        source = _load_source(reference, folder, directory, str(folder))
        source = replace(source, version=_hash_folder(folder))
        yield _with_origin(source, reference, directory, None)
        return
    with clone_repository(url, checkout) as clone:
        commit = _run_git(clone, "rev-parse", "HEAD").strip()
        _check_depth(clone)
        source = _load_source(reference, clone, directory, url)
        source = replace(source, version=commit, commit=commit)
        yield _with_origin(source, str(clone), directory, checkout)


@contextmanager
def clone_repository(url: str, checkout: str | None = None) -> Iterator[Path]:
    """Clone a repository; the clone exists until the end of the context.

    Args:
        url: its address, from ``repository_url``.
        checkout: branch, tag or commit.

    Raises:
        UsageProblem: ``checkout`` is not a revision.
        AistartError: git fails.
    """
    if checkout is not None:
        check_revision(checkout)
    with staging_folder() as stage:
        clone = stage / (PurePosixPath(url).name.removesuffix(".git") or "template")
        _run_git(stage, "clone", "--quiet", "--no-recurse-submodules", "--", url, clone.name)
        if checkout is not None:
            _run_git(clone, "checkout", "--quiet", checkout, "--")
        yield clone


def check_revision(checkout: str) -> None:
    """Raise UsageProblem for what cannot be a branch, tag or commit."""
    if not _REVISION.fullmatch(checkout):
        raise UsageProblem(f"--checkout: {checkout!r} is not a branch, tag or commit.")


def check_directory(directory: str) -> None:
    """Raise UsageProblem for a folder that lies outside of a template's source."""
    if not is_template_path(directory):
        raise UsageProblem(f"--directory: {directory!r} lies outside of the template's source.")


def _with_origin(
    source: Source, folder: str, directory: str | None, checkout: str | None
) -> Source:
    """Return the source with the origin that its template's code may ask for."""
    repo_dir = f"{folder.rstrip('/')}/{directory}" if directory else folder
    origin = Origin(source.template.reference, repo_dir, checkout)
    return replace(source, template=replace(source.template, origin=origin, directory=directory))


def repository_url(reference: str) -> str | None:
    """Return the address of a repository, or None if the reference is not one.

    Raises:
        UsageProblem: it has the form of one that is not allowed.
    """
    host, colon, rest = reference.partition(":")
    if colon and host in _HOSTS:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", rest):
            raise UsageProblem(
                f"template: {reference!r} is not of the form {host}:owner/repository."
            )
        return _HOSTS[host].format(rest.removesuffix(".git"))
    if "::" in reference:
        raise UsageProblem(f"template: {reference!r}: git's remote helpers are not allowed.")
    scheme, separator, _ = reference.partition("://")
    if separator:
        if scheme not in _SCHEMES:
            raise UsageProblem(
                f"template: {scheme!r} is not one of the allowed schemes: {', '.join(_SCHEMES)}."
            )
        return reference
    return reference if _SCP_ADDRESS.fullmatch(reference) else None


def _is_folder(reference: str, other_names: Iterable[str]) -> bool:
    if reference in find_templates():
        return False
    if Path(reference).is_dir():
        return True
    is_path = any(mark in reference for mark in (os.sep, "/", "~")) or reference.startswith(".")
    if is_path:
        raise UsageProblem(f"template: {reference!r} is not a folder.")
    raise unknown_name_error("template", reference, [*find_templates(), *other_names])


def _load_source(reference: str, root: Path, directory: str | None, address: str) -> Source:
    path = PurePosixPath(directory or ".")
    folder = (root / path).resolve()
    if not is_template_path(directory or ".") or not folder.is_relative_to(root.resolve()):
        raise UsageProblem(f"--directory: {directory!r} lies outside of the template's source.")
    if not folder.is_dir():
        raise UsageProblem(f"--directory: {directory!r} is not a folder of {reference!r}.")
    _check_links(root.resolve(), folder)
    # Trust in one folder of a repository is not trust in another: only this one was shown.
    full_address = address if folder == root.resolve() else f"{address}//{path}"
    return Source(load_foreign_template(folder, reference), full_address, root=folder)


def _check_depth(folder: Path) -> None:
    """Raise UsageProblem if folders are nested deeper than any template needs."""
    pending = [(folder, 0)]
    while pending:
        current, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise UsageProblem(f"template: it has folders more than {_MAX_DEPTH} deep.")
        with os.scandir(current) as entries:
            pending += [
                (Path(entry.path), depth + 1)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]


def _check_links(root: Path, folder: Path) -> None:
    """Raise UsageProblem if a symbolic link leads out of the source, or into its ``.git``.

    What it points to would be rendered or run, but is not part of the version that is trusted.
    """
    for path in _walk(root):
        if not path.is_symlink():
            continue
        # realpath, unlike resolve, accepts a link that leads to itself.
        target = Path(os.path.realpath(path))
        is_inside = target.is_relative_to(root) and not target.is_relative_to(root / ".git")
        is_broken = path.is_relative_to(folder) and not path.exists()
        if not is_inside or is_broken:
            name = path.relative_to(folder if path.is_relative_to(folder) else root)
            raise UsageProblem(f"template: the link {name.as_posix()!r} leads out of the template.")


def _walk(root: Path) -> Iterator[Path]:
    """Walk all files, folders and links in order, except those in the root's ``.git``."""
    for path in sorted(root.rglob("*")):
        if path.relative_to(root).parts[0] != ".git":
            yield path


def _hash_folder(folder: Path) -> str:
    """Hash all that can run: file contents, names (which may be Jinja, also those of empty folders)
    and the targets of links."""
    import hashlib  # slow to import, and only folders of others are hashed

    digest = hashlib.sha256()
    for path in _walk(folder):
        is_link, is_file = path.is_symlink(), path.is_file()
        kind = "link" if is_link else "file" if is_file else "folder"
        detail = str(path.readlink() if is_link else path.stat().st_size if is_file else "")
        name = path.relative_to(folder).as_posix()
        digest.update(os.fsencode(f"{kind}\0{name}\0{detail}\0"))
        if is_file and not is_link:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _run_git(folder: Path, *words: str) -> str:
    log.debug("git %s", " ".join(words))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
        "GIT_TERMINAL_PROMPT": "0",
    }
    # No git hook of the user's may run before there is trust.
    safe_options = ("-c", f"core.hooksPath={os.devnull}", "-c", "init.templateDir=")
    try:
        result = subprocess.run(
            ["git", *safe_options, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise AistartError("template: it is in a repository, and git is not installed.") from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        # Git prints advice after the line that begins with "fatal".
        reason = next((line for line in lines if line.startswith("fatal: ")), lines[-1])
        raise AistartError(f"git: {reason}")
    return result.stdout
