"""Prompts that break at spaces where the terminal ends: prompt_toolkit breaks within words."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from prompt_toolkit.application import Application, get_app
from prompt_toolkit.filters import Always
from prompt_toolkit.formatted_text import (
    FormattedText,
    StyleAndTextTuples,
    split_lines,
    to_formatted_text,
)
from prompt_toolkit.formatted_text.utils import fragment_list_len, fragment_list_width
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.output import Output
from prompt_toolkit.shortcuts import print_formatted_text
from prompt_toolkit.utils import get_cwidth


def wrap_words(application: Application[Any]) -> None:
    """Let the lines of all windows go on below where they are too long, and break at spaces."""
    for window in set(application.layout.find_all_windows()):
        window.wrap_lines = Always()
        if window.height == 1:
            window.height = None
        control = window.content
        if isinstance(control, BufferControl):
            control.input_processors = [
                *(control.input_processors or []),
                _Wrapping(window.get_line_prefix),
            ]
            window.get_line_prefix = None
        elif isinstance(control, FormattedTextControl):
            _wrap_text(control)


def print_line(line: StyleAndTextTuples, application: Application[Any]) -> None:
    """Print a line where an application has ended, in its colours; it breaks at spaces."""
    output = application.output
    filled, _ = _padded(line, output.get_size().columns)
    print_formatted_text(FormattedText(filled), style=application.style, output=output)


def erase_line(line: StyleAndTextTuples, output: Output) -> None:
    """Take a line back that ``print_line`` printed last."""
    columns = output.get_size().columns
    filled, _ = _padded(line, columns)
    output.cursor_up(max(1, -(-fragment_list_width(filled) // columns)))
    output.write_raw("\r")
    output.erase_down()
    output.flush()


def _wrap_text(control: FormattedTextControl) -> None:
    text, style = control.text, control.style

    def wrapped() -> StyleAndTextTuples:
        columns = get_app().output.get_size().columns
        lines = [_padded(line, columns)[0] for line in split_lines(to_formatted_text(text, style))]
        joined = [fragment for line in lines for fragment in [("", "\n"), *line]]
        return joined[1:]

    control.text = wrapped


class _Wrapping(Processor):
    """What is typed, with the prompt before it."""

    def __init__(self, prefix: Callable[[int, int], Any] | None) -> None:
        self._prefix = prefix

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        before = self._prefix(transformation_input.lineno, 0) if self._prefix else ""
        prompt = to_formatted_text(before)
        length = fragment_list_len(prompt)
        line = [*prompt, *transformation_input.fragments]
        filled, places = _padded(line, transformation_input.width)
        return Transformation(
            filled,
            source_to_display=lambda place: places[min(place + length, len(places) - 1)],
            display_to_source=lambda place: max(bisect_right(places, place) - 1 - length, 0),
        )


def _padded(line: StyleAndTextTuples, columns: int) -> tuple[StyleAndTextTuples, list[int]]:
    """Fill a line up with spaces before each word that would be cut at the terminal's edge.

    Returns:
        the line, and where in it each of its signs, and its end, has come to lie.
    """
    # An empty one may mark where the cursor is.
    signs = [(style, sign) for style, text, *_ in line for sign in (text or [""])]
    filled: StyleAndTextTuples = []
    places, column, is_in_word = [], 0, False
    for number, (style, sign) in enumerate(signs):
        if sign and sign != " " and not is_in_word:
            word = takewhile(lambda other: other != " ", (text for _, text in signs[number:]))
            width = sum(map(get_cwidth, word))
            if width < columns <= column + width:
                filled += [("", " ")] * (columns - column)
                column = 0
        is_in_word = sign != " " and (is_in_word or bool(sign))
        column = get_cwidth(sign) + (column if column + get_cwidth(sign) <= columns else 0)
        if sign:
            places.append(len(filled))
        filled.append((style, sign))
    return filled, [*places, len(filled)]
