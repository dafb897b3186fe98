"""Names of models and of owners of keys, which stand in paths, headers and logs."""

import re

from ..errors import UsageProblem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str, field: str) -> None:
    """Check that a name has nothing but letters, digits, '.', '_' and '-'.

    Args:
        name: any text.
        field: what it was given for, for messages.

    Raises:
        UsageProblem: it has.
    """
    if not NAME.fullmatch(name):
        raise UsageProblem(
            f"{field}: {name!r} is no name; allowed are letters, digits, '.', '_' and '-'."
        )
