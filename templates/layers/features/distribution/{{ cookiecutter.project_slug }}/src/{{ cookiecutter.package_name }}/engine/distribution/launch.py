"""``launch --workers N -- [words of train]``: train in several processes on this machine.

``launch --workers 2 -- --train.epochs 5`` runs ``train --train.epochs 5`` in two processes.
"""

import signal
import sys

from .. import PACKAGE
from ..commands import Project
from ..commands.train import split_flags
from ..config_loader import Parser, positive
from ..errors import Interrupted, ProjectError
from ..extensions import find_training_sections
from ..strategy import choose_backend
from .workers import Workers, describe_cluster


def run(project: Project, words: list[str]) -> None:
    """Start the workers, pass signals on, and end with the worst of their exit codes."""
    own, train_words = words, []
    if "--" in words:
        place = words.index("--")
        own, train_words = words[:place], words[place + 1 :]
    parser = Parser(prog="launch", description="Train in several processes on this machine.")
    parser.add_argument("--workers", type=positive, required=True, metavar="N", help="processes")
    count = parser.parse_args(own).workers
    fields = split_flags(train_words)[1]
    runtime = project.load_config(fields, sections=find_training_sections()).runtime
    workers = Workers(
        [sys.executable, "-m", PACKAGE, "train", *train_words],
        describe_cluster(count, choose_backend(runtime)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, workers.send_signal)
    codes = workers.wait()
    if not any(codes):
        return
    ends = ", ".join(f"{rank}: {_describe(code)}" for rank, code in enumerate(codes))
    if all(code in (0, Interrupted.exit_code) for code in codes):
        raise Interrupted(f"the workers were stopped ({ends}); the same command resumes.")
    failures = [code for code in codes if code > 1 and code != Interrupted.exit_code]
    error = ProjectError(f"not all workers succeeded ({ends}).")
    error.exit_code = failures[0] if failures else ProjectError.exit_code
    raise error


def _describe(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
