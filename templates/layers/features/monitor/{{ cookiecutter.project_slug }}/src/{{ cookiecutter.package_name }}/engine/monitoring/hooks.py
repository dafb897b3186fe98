"""What monitoring adds to ``train`` and to the service."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..evaluation import Evaluation
    from ..interfaces import Requests


def after_evaluation(evaluation: "Evaluation", arguments: argparse.Namespace | None) -> None:
    """Attach the profile to the model, at the end of ``train``."""
    if arguments is not None or evaluation.run is None:
        return
    from ..attachments import attach  # with the profile comes Keras
    from .profile import NAME, make_profile

    attach(evaluation.run.model_file, NAME, make_profile(evaluation).to_json())


def after_answers(
    config: Any, model: Any, requests: "Requests", answers: Sequence[Mapping[str, Any]]
) -> None:
    """Keep samples of requests and answers, if ``monitor.samples`` names a folder."""
    if config.monitor.samples:
        from .samples import keep

        keep(config.monitor, model, requests, answers)
