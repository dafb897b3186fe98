"""Jinja filters that write an answer into a file as data: whatever it holds, the file parses."""

import json
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension
from slugify import slugify

from aistart.naming import is_folder_name


def quoted(value: Any) -> str:
    """A string, or a list of strings, as a literal that TOML, YAML, JSON and Python all read."""
    text = json.dumps(value, ensure_ascii=False)
    # JSON leaves DEL and the C1 controls as they are; TOML and YAML refuse them.
    return "".join(f"\\u{ord(c):04x}" if 0x7F <= ord(c) <= 0x9F else c for c in text)


def one_line(value: str) -> str:
    """A text on a single line, white space folded."""
    return " ".join(value.split())


def folder_name(name: str) -> str:
    """The name itself where it can name a folder, else the closest one that can."""
    return name if is_folder_name(name) else slugify(name)


class Quoting(Extension):
    """Adds the filters of this module to the environment that renders our templates."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters.update(quoted=quoted, one_line=one_line, folder_name=folder_name)
