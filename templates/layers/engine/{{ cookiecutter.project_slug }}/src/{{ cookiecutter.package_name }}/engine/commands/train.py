"""``train [--config FILE] [--section.field VALUE …] [--resume latest|ID | --fresh]
[--measure test|validation]``."""

import argparse

from .. import logs, strategy
from ..config_loader import Parser, add_sections, argument_parser
from ..errors import ProjectError, UsageProblem
from ..extensions import find_training_sections
from ..runs import find_unfinished
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Train as the words say."""
    sections = find_training_sections()
    if {"-h", "--help"} & set(words):
        config_type = add_sections(project.config, sections)
        argument_parser(config_type, "train", parents=[_run_flags()]).print_help()
        return
    flags, fields = split_flags(words)
    resume = find_unfinished(flags.resume) if flags.resume else None
    base = resume and resume.config_file
    config = project.load_config(fields, base=base, sections=sections)
    with logs.log_to_console():
        # Before `train.py` is imported: with it comes Keras, which then has its backend.
        strategy.prepare(config.runtime)
        try:
            project.load_train()(config, resume, flags.fresh, flags.measure)
        except MemoryError as error:
            raise ProjectError("not enough memory; try a smaller data.batch_size.") from error


def split_flags(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags of ``_run_flags``, and the other words, which are fields.

    Raises:
        UsageProblem: ``--resume`` and ``--fresh`` are both given.
    """
    flags, fields = _run_flags().parse_known_args(words)
    if flags.resume and flags.fresh:
        raise UsageProblem("--fresh and --resume contradict each other.")
    return flags, fields


def _run_flags() -> Parser:
    parser = Parser(prog="train", add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--resume",
        metavar="latest|ID",
        help="resume this unfinished run as it was configured; without: the newest unfinished one "
        "that has the same configuration and data",
    )
    parser.add_argument("--fresh", action="store_true", help="start a new run in any case")
    parser.add_argument(
        "--measure",
        choices=("test", "validation"),
        default="test",
        help="the split that the finished model is measured on; validation: while you compare "
        "settings, so that none is preferred for its test result (default: test)",
    )
    return parser
