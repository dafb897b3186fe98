"""Versions and ranges of them, as far as requirements of packages and machines use them."""

import operator
import re

_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_release(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version, padded to three, for comparison."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = tuple(map(int, match[0].split("."))) if match else ()
    return (*numbers, 0, 0, 0)[: max(3, len(numbers))]


def is_in_range(version: str, version_range: str) -> bool:
    """Whether a version is in a range.

    Args:
        version: for example ``3.12.4``.
        version_range: for example ``>=3.11,<3.14``; parts of another form are ignored.
    """
    for part in version_range.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([\d.]+)\s*", part)
        if match and not _COMPARISONS[match[1]](parse_release(version), parse_release(match[2])):
            return False
    return True
