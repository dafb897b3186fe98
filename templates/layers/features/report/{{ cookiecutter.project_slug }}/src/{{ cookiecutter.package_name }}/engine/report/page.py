"""The page of evidence: one file, with all that it shows inside it."""

from pathlib import Path

import jinja2

from .. import PACKAGE
from ..files import write_text
from ..lookup import find
from .evidence import Evidence
from .html import Section

FILE = "index.html"
TABLE = {"sections": "report_page:SECTIONS", "template": "report_page:TEMPLATE"}


def write_page(evidence: Evidence) -> Path:
    """Write the page to the folder of the report and return its path.

    Args:
        evidence: what it shows.
    """
    table: dict[str, object] = find(TABLE, "sections")
    made = (find(table, name)(evidence) for name in table)
    sections = [section for section in made if section is not None]
    return write_sections(evidence.name_file(FILE), _title(evidence), sections)


def write_sections(path: Path, title: str, sections: list[Section]) -> Path:
    """Write sections to a page of the project's layout and return its path.

    Args:
        path: of the page.
        title: of the page.
        sections: in their order.
    """
    write_text(path, render(find(TABLE, "template"), title, sections))
    return path


def render(template: Path, title: str, sections: list[Section]) -> str:
    """Return the page as HTML.

    Args:
        template: Jinja file.
        title: of the page.
        sections: in their order.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(title=title, sections=sections)


def _title(evidence: Evidence) -> str:
    evaluation = evidence.evaluation
    name = evaluation.run.id if evaluation.run else evaluation.config.model.name
    return f"{PACKAGE}: {evaluation.split_name} split, {name}"
