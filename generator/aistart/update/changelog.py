"""The changelog that comes with aistart, and the version of its templates."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from aistart.catalog import templates_root
from aistart.versions import parse_release

_HEADING = re.compile(r"^## (\d\S*) — (\S+)\n", re.MULTILINE)
_DIGEST_LENGTH = 12  # hexadecimal digits, as in git's short commits


@dataclass(frozen=True)
class Release:
    """A section of the changelog: a version, its date, and what changed."""

    version: str
    date: str
    text: str


def read_releases() -> list[Release]:
    """Return the sections of the changelog, the newest first."""
    path = Path(__file__).parents[1] / "CHANGELOG.md"
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return [
        Release(version, date, text.strip())
        for version, date, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def find_releases(old: str, new: str) -> list[Release]:
    """Return the sections after one version up to another.

    Args:
        old: the version that a project has.
        new: the version that it gets.
    """
    first, last = parse_release(old), parse_release(new)
    return [
        release for release in read_releases() if first < parse_release(release.version) <= last
    ]


def hash_templates() -> str:
    """Return a short hash of all files of the built-in templates.

    Two installations with the same hash render the same projects, also from a checkout that
    somebody has edited.
    """
    root = templates_root()
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        # Python writes its caches there when templates are installed.
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGEST_LENGTH]
