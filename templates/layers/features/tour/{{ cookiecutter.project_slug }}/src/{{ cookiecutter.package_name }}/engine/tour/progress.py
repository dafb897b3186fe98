"""Which steps are done, kept by title: a step that was moved stays done, a renamed one is new."""

import json
from pathlib import Path

from .. import PROGRAM
from ..errors import DataProblem
from ..files import project_root, write_json


def progress_file() -> Path:
    """Return the file in which progress is kept."""
    return project_root() / ".cache" / "tour.json"


def read_done() -> set[str]:
    """Return the titles of the steps that are done.

    Raises:
        DataProblem: the file was damaged.
    """
    path = progress_file()
    try:
        titles = json.loads(path.read_text(encoding="utf-8"))["done"]
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError):
        titles = None
    if not isinstance(titles, list) or not all(isinstance(title, str) for title in titles):
        raise DataProblem(f"{path}: damaged; `{PROGRAM} tour --reset` begins anew.")
    return set(titles)


def write_done(titles: set[str]) -> None:
    """Keep the titles of the steps that are done."""
    write_json(progress_file(), {"done": sorted(titles)})


def forget() -> None:
    """Forget all progress."""
    progress_file().unlink(missing_ok=True)
