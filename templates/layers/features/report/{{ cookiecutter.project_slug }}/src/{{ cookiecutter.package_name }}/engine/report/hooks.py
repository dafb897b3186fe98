"""What the report adds to ``train`` and ``evaluate``."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """Add ``--by`` to ``evaluate``."""
    if command == "evaluate":
        parser.add_argument(
            "--by",
            metavar="COLUMN",
            nargs="+",
            default=[],
            help="measure each value or band of these columns of the data",
        )


def after_evaluation(evaluation: "Evaluation", arguments: argparse.Namespace | None) -> None:
    """Write the page and the model card; in ``evaluate``, print the slices too."""
    from .write import write_report  # Keras and matplotlib

    write_report(evaluation, tuple(arguments.by) if arguments else (), is_command=bool(arguments))
