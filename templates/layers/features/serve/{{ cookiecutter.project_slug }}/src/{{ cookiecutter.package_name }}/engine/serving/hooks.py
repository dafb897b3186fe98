"""What serving adds to ``train``."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def after_evaluation(evaluation: "Evaluation", arguments: argparse.Namespace | None) -> None:
    """Attach true examples to the model, at the end of ``train``."""
    if arguments is not None or evaluation.run is None:
        return
    from ..attachments import attach
    from .examples import NAME, pick_examples

    if rows := pick_examples(evaluation.model, evaluation.data):
        attach(evaluation.run.model_file, NAME, rows)
