"""``tour [--list | --reset | --check] [--step N]``: the steps of ``docs/onboarding.md``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import PROGRAM
from ..commands import Project
from ..config_loader import Parser
from ..errors import Interrupted, ProjectError, UsageProblem
from ..files import project_root
from . import display, progress
from .checks import run_check
from .document import Step, read_steps

DOCUMENT = Path("docs", "onboarding.md")
QUESTION = "Enter: check   s: skip   q: leave > "
QUESTION_WITHOUT_CHECK = "Enter: done   s: skip   q: leave > "


class CheckFailed(ProjectError):
    """The check of at least one step failed."""


def run(project: Project, words: list[str]) -> None:
    """Lead a new colleague through the steps, and keep what is done."""
    arguments = _parse(words)
    if arguments.reset:
        progress.forget()
        print(f"Begun anew; `{PROGRAM} tour` shows the first step.")
        return
    steps = read_steps(project_root() / DOCUMENT)
    _warn_of_numbers(steps)
    selected = steps if arguments.step is None else [_find_step(steps, arguments.step)]
    if arguments.list:
        _list(steps)
    elif arguments.check:
        _check_all(selected)
    else:
        _lead(steps, selected, is_asked_for=arguments.step is not None)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="tour",
        description=f"Go through {DOCUMENT.as_posix()}: shows the next step, waits until you have "
        "done it, runs its check, and continues where you stopped. Without a terminal it prints "
        "the next step and the result of its check.",
        allow_abbrev=False,
    )
    parser.add_argument("--step", type=int, metavar="N", help="this step, done or not")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="print all steps, and which are done")
    group.add_argument(
        "--check",
        action="store_true",
        help="run the checks of all steps, or of --step N; exit code 1 if one fails",
    )
    group.add_argument("--reset", action="store_true", help="forget which steps are done")
    return parser.parse_args(words)


def _find_step(steps: Sequence[Step], number: int) -> Step:
    if not 1 <= number <= len(steps):
        raise UsageProblem(f"--step: {number} is not a step. Allowed: 1 to {len(steps)}.")
    return steps[number - 1]


def _warn_of_numbers(steps: Sequence[Step]) -> None:
    for step in steps:
        if step.number != step.written_number:
            print(
                f"{DOCUMENT.as_posix()}: line {step.line}: {step.title!r} is step {step.number} by "
                f"its place, not {step.written_number}.",
                file=sys.stderr,
            )


def _list(steps: Sequence[Step]) -> None:
    done = progress.read_done()
    for step in steps:
        print(f"[{'x' if step.title in done else ' '}] {step.number:>2}  {step.title}")
    print()
    print(_say_what_is_next(steps, done))


def _check_all(steps: Sequence[Step]) -> None:
    """Run the checks without a look at what is done; keep those that succeed.

    Raises:
        CheckFailed: of one or more steps.
    """
    done = progress.read_done()
    failed = []
    for step in steps:
        if step.check is None:
            print(f"-       {step.number:>2}  {step.title}: no check")
            continue
        result = run_check(step.check, project_root())
        print(f"{'ok' if result.succeeded else 'FAILED':<6}  {step.number:>2}  {step.title}")
        if result.succeeded:
            done.add(step.title)
            continue
        failed.append(step.number)
        if result.output:
            print(display.show_output(result.output))
    progress.write_done(done)
    if failed:
        numbers = ", ".join(map(str, failed))
        raise CheckFailed(f"{len(failed)} of {len(steps)} checks failed: {numbers}.")


def _lead(steps: Sequence[Step], selected: Sequence[Step], is_asked_for: bool) -> None:
    """Show the steps that are left, one after the other; without a terminal, the first of them."""
    done = progress.read_done()
    left = [step for step in selected if is_asked_for or step.title not in done]
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    for step in left if is_interactive else left[:1]:
        print(display.show_step(step, len(steps)))
        try:
            goes_on = _ask_until_done(step, done) if is_interactive else _check_once(step, done)
        except KeyboardInterrupt:
            print()
            raise Interrupted(f"left at step {step.number}; {_say_how_to_continue()}") from None
        if not goes_on:
            print(f"Left at step {step.number}; {_say_how_to_continue()}")
            return
    print(display.show_paragraph(_say_what_is_next(steps, done)))


def _ask_until_done(step: Step, done: set[str]) -> bool:
    """Wait for the user and check the step until it is done or skipped.

    Returns:
        False if the user wants to leave.
    """
    question = QUESTION if step.check else QUESTION_WITHOUT_CHECK
    while True:
        try:
            answer = input(question).strip().lower()
        except EOFError:
            print()
            return False
        if answer in ("q", "quit"):
            return False
        if answer in ("s", "skip"):
            return True
        if answer == "" and _check_once(step, done):
            return True


def _check_once(step: Step, done: set[str]) -> bool:
    """Run the check of a step, print its result, and keep it.

    Returns:
        Whether the step is done.
    """
    if step.check is not None:
        result = run_check(step.check, project_root())
        if not result.succeeded:
            print(display.show_paragraph(f"Not yet: `{step.check}` failed."))
            for part in (display.show_output(result.output), display.show_hint(step)):
                if part.strip():
                    print(f"\n{part}")
            return False
    done.add(step.title)
    progress.write_done(done)
    print(f"Step {step.number} is done.")
    return True


def _say_what_is_next(steps: Sequence[Step], done: set[str]) -> str:
    left = [step for step in steps if step.title not in done]
    if not left:
        return f"All {len(steps)} steps are done. `{PROGRAM} tour --reset` begins anew."
    step = left[0]
    return f"Next: {step.number}. {step.title}; `{PROGRAM} tour` shows it."


def _say_how_to_continue() -> str:
    return f"`{PROGRAM} tour` continues there."
