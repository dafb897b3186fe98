"""What the report adds to ``train``, ``evaluate``, ``inspect``, ``runs compare`` and ``tune``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..commands import Project
    from ..evaluation import Evaluation
    from ..findings import Inspection
    from ..runs import Run


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """Add ``--by`` to ``evaluate`` and ``--html`` to ``runs compare``."""
    if command == "runs compare":
        parser.add_argument(
            "--html",
            metavar="FILE",
            type=Path,
            help="also write a page: differences with their intervals, curves over each other",
        )
    if command == "evaluate":
        parser.add_argument(
            "--by",
            metavar="COLUMN",
            nargs="+",
            default=[],
            help="measure each value or band of these columns of the data",
        )


def after_inspection(inspection: "Inspection") -> None:
    """Write the page about the data beside its configuration."""
    from .inspection_page import write_inspection

    print(f"Page: {write_inspection(inspection)}")


def after_search(folder: Path, title: str) -> None:
    """Write a page with the figures and tables of a search."""
    from .folder_page import write_folder_page

    print(f"\nPage: {write_folder_page(folder, title)}")


def after_comparison(
    project: "Project", runs: "Sequence[Run]", arguments: argparse.Namespace
) -> None:
    """Write the page that ``--html`` asks for."""
    if arguments.html:
        from .comparison import write_comparison

        write_comparison(project, runs, arguments.html)
        print(f"\nPage: {arguments.html}")


def after_evaluation(evaluation: "Evaluation", arguments: argparse.Namespace | None) -> None:
    """Write the page and the model card; in ``evaluate``, print the slices too."""
    from .write import write_report  # Keras and matplotlib

    write_report(evaluation, tuple(arguments.by) if arguments else (), is_command=bool(arguments))
