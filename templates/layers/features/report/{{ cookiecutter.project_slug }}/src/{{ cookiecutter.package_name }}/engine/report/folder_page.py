"""A page with all figures and tables of a folder."""

import csv
from pathlib import Path

from .html import Section, figure, join, table
from .page import FILE, write_sections
from .sections.curves import find_figures, read_title


def write_folder_page(folder: Path, title: str) -> Path:
    """Write the page into the folder and return its path.

    Args:
        folder: its figures and CSV files are shown.
        title: of the page.
    """
    figures = [figure(path, read_title(path)) for path in find_figures(folder)]
    sections = [Section("figures", "Figures", join(figures))] if figures else []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        name = read_title(path)
        sections.append(Section(path.stem, name, table(header, rows, f"{name}, all of them")))
    return write_sections(folder / FILE, title, sections)
