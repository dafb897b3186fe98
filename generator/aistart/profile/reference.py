"""The text of a profile from where it is: a file, a URL, or a file in a git repository."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aistart.errors import UsageProblem, format_value

MAX_BYTES = 10**6
LIMIT = 20.0  # seconds for the whole content
_HASH = re.compile(r"[0-9a-f]{64}")
_MARK = "#sha256="
# REPOSITORY//PATH, where the repository is one by its form alone.
_IN_REPOSITORY = re.compile(
    r"(?P<repository>(?:gh|gl|bb):[^/].*?|(?:ssh|git|file)://.+?|[\w.-]+@[\w.-]+:.+?|https://.+?\.git)"
    r"//(?P<path>.+)"
)


@dataclass(frozen=True)
class Reference:
    """Where a profile is.

    Attributes:
        address: a path, a URL, or ``REPOSITORY//PATH``.
        sha256: the hash that its content must have, in hexadecimal; None: any.
    """

    address: str
    sha256: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether others can change it: it is no file of this machine."""
        return "://" in self.address or _IN_REPOSITORY.fullmatch(self.address) is not None

    @property
    def absolute(self) -> str:
        """The address, which means the same in any folder."""
        return self.address if self.is_remote else str(Path(self.address).absolute())


def parse_reference(text: str) -> Reference:
    """Parse the value of ``--profile``.

    Raises:
        UsageProblem: the hash is malformed, or the URL is not one that may be fetched.
    """
    address, mark, digest = text.rpartition(_MARK)
    if not mark:
        address, digest = text, ""
    elif not _HASH.fullmatch(digest.lower()):
        raise UsageProblem(f"profile: {_MARK}{digest[:80]} must have 64 hexadecimal digits.")
    if not address.isprintable():
        raise UsageProblem(f"profile: {format_value(address)} must not hold control characters.")
    reference = Reference(address, digest.lower() or None)
    if reference.is_remote and not _IN_REPOSITORY.fullmatch(address):
        from aistart.profile.download import check_url

        check_url(address)
    return reference


def fetch(reference: Reference) -> bytes:
    """Return the content of a profile.

    Raises:
        UsageProblem: the file or URL is not allowed, or its content has another hash.
        AistartError: it cannot be reached.
    """
    if match := _IN_REPOSITORY.fullmatch(reference.address):
        data = _read_from_repository(reference.address, match["repository"], match["path"])
    elif reference.is_remote:
        from aistart.profile.download import download

        data = download(reference.address)
    else:
        data = read_file(Path(reference.address), reference.address)
    if reference.sha256 and (actual := sha256_of(data)) != reference.sha256:
        raise UsageProblem(
            f"profile: {reference.address!r} has the SHA-256 {actual}, not {reference.sha256}."
        )
    return data


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of a profile's content, in hexadecimal."""
    import hashlib  # slow to import, and a profile in a file has no hash

    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, label: str) -> bytes:
    """Read a profile from a file.

    Args:
        path: the file.
        label: names it in messages.

    Raises:
        UsageProblem: it is no file, cannot be read, or is too large.
    """
    if not path.is_file():
        raise UsageProblem(f"profile: {label!r} is not a file.")
    try:
        with path.open("rb") as file:
            return read_bounded(file, label)
    except OSError as error:
        raise UsageProblem(f"profile: {label!r}: {error.strerror}.") from None


def read_bounded(file: IO[bytes], label: str) -> bytes:
    """Read to the end.

    Args:
        file: open for reading.
        label: names it in messages.

    Raises:
        UsageProblem: it is too large.
        TimeoutError: it comes too slowly.
    """
    deadline = time.monotonic() + LIMIT
    data = b""
    while part := file.read(2**16):
        data += part
        if len(data) > MAX_BYTES:
            raise UsageProblem(f"profile: {label!r} is larger than {MAX_BYTES // 10**6} MB.")
        if time.monotonic() > deadline:
            raise TimeoutError
    return data


def _read_from_repository(label: str, repository: str, path: str) -> bytes:
    from aistart.sources import check_directory, clone_repository, repository_url

    check_directory(path)
    url = repository_url(repository)
    if url is None:
        raise UsageProblem(f"profile: {repository!r} is not a repository.")
    with clone_repository(url) as clone:
        file = (clone / path).resolve()
        if not file.is_relative_to(clone.resolve()):
            raise UsageProblem(f"profile: {label!r} is a link that leads out of the repository.")
        return read_file(file, label)
