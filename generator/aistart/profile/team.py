"""The team's profile in use: where it is, and the copy that the user signed off by its hash.

A profile from a URL or a repository is kept as a copy; what changes there changes nothing here
until the user signs it off again. A profile in a file of this machine is read each time.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from aistart.errors import AistartError, UsageProblem
from aistart.profile.reference import Reference, fetch, sha256_of
from aistart.user_config import TEAM_RECORD, config_path


@dataclass(frozen=True)
class TeamProfile:
    """The profile that ``aistart profile use`` put in use.

    Attributes:
        address: a path, a URL, or ``REPOSITORY//PATH``.
        sha256: the hash of the copy; None: it is a file of this machine.
        date: on which it was signed off.
    """

    address: str
    sha256: str | None
    date: str

    @property
    def reference(self) -> Reference:
        """Where it is."""
        return Reference(self.address)

    def read(self) -> bytes:
        """Read the copy, or the file.

        Raises:
            UsageProblem: the file is gone, or the copy is gone or no longer what was signed off.
        """
        if self.sha256 is None:
            try:
                return fetch(self.reference)
            except UsageProblem as error:
                message = error.message.removesuffix(".")
                raise UsageProblem(f"{message}; `aistart profile leave` forgets it.") from None
        try:
            data = _copy_path(self.sha256).read_bytes()
        except OSError:
            data = b""
        if sha256_of(data) != self.sha256:
            raise UsageProblem(
                f"profile: the copy of {self.address!r} was edited or deleted; "
                "`aistart profile update` restores it."
            )
        return data


def find() -> TeamProfile | None:
    """Return the team's profile in use, if there is one.

    Raises:
        UsageProblem: the record of it is broken.
    """
    path = _record_path()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        address, sha256, day = (record[key] for key in ("address", "sha256", "date"))
        if not isinstance(address, str) or not (sha256 is None or isinstance(sha256, str)):
            raise TypeError
        return TeamProfile(address, sha256, str(day))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageProblem(f"profile: {str(path)!r}: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise UsageProblem(
            f"profile: {str(path)!r} was edited; `aistart profile use` makes it anew."
        ) from None


def sign_off(reference: Reference, data: bytes) -> TeamProfile:
    """Put a profile in use, and keep a copy of it if it is not a file of this machine.

    Args:
        reference: where it is.
        data: its content, which the user has seen.

    Raises:
        AistartError: the user's configuration cannot be written.
    """
    digest = sha256_of(data) if reference.is_remote else None
    team = TeamProfile(reference.absolute, digest, date.today().isoformat())
    previous = None
    with suppress(UsageProblem):
        previous = find()
    if digest:
        _write(_copy_path(digest), data)
    _write(_record_path(), f"{json.dumps(asdict(team), indent=2)}\n".encode())
    _remove_copy(previous, digest)
    return team


def leave() -> None:
    """Stop using the team's profile.

    Raises:
        AistartError: the user's configuration cannot be written.
    """
    previous = None
    with suppress(UsageProblem):
        previous = find()
    try:
        _record_path().unlink(missing_ok=True)
    except OSError as error:
        raise AistartError(f"profile: {str(_record_path())!r}: {error.strerror}.") from None
    _remove_copy(previous, None)


def find_copy(sha256: str) -> bytes | None:
    """Return the copy with this hash, if it is kept: it needs no network."""
    with suppress(OSError):
        data = _copy_path(sha256).read_bytes()
        return data if sha256_of(data) == sha256 else None
    return None


def _remove_copy(team: TeamProfile | None, sha256: str | None) -> None:
    """Remove the copy of a profile, unless it is the one with this hash."""
    if team and team.sha256 and team.sha256 != sha256:
        with suppress(OSError):
            _copy_path(team.sha256).unlink()


def _record_path() -> Path:
    return config_path(TEAM_RECORD)


def _copy_path(sha256: str) -> Path:
    return config_path("profiles") / f"{sha256}.toml"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise AistartError(f"profile: {str(path)!r}: {error.strerror}.") from None
