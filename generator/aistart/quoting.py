"""Jinja filters that write an answer into a file as data: the file parses whatever it holds."""

import json
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension
from slugify import slugify

from aistart.naming import is_folder_name


def quote(value: Any) -> str:
    """Write a string, or a list of strings, as a literal that TOML, YAML, JSON and Python read."""
    text = json.dumps(value, ensure_ascii=False)
    # JSON allows DEL and the C1 control characters; TOML and YAML reject them.
    return "".join(f"\\u{ord(c):04x}" if 0x7F <= ord(c) <= 0x9F else c for c in text)


def fold_lines(value: str) -> str:
    """Put a text on a single line, with all white space folded."""
    return " ".join(value.split())


def make_folder_name(name: str) -> str:
    """Return the name itself if a folder can have it, else the closest valid one."""
    return name if is_folder_name(name) else slugify(name)


class Quoting(Extension):
    """Adds the filters ``quoted``, ``one_line`` and ``folder_name`` to a template's environment."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        filters = {"quoted": quote, "one_line": fold_lines, "folder_name": make_folder_name}
        environment.filters.update(filters)
