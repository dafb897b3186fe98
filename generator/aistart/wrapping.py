"""Word wrap for prompts: by itself, prompt_toolkit breaks lines within words."""

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
    """Make all windows of an application wrap long lines, and break them at spaces."""
    for window in set(application.layout.find_all_windows()):
        window.wrap_lines = Always()
        if window.height == 1:
            window.height = None
        control = window.content
        if isinstance(control, BufferControl):
            control.input_processors = [
                *(control.input_processors or []),
                _WordWrapProcessor(window.get_line_prefix),
            ]
            window.get_line_prefix = None
        elif isinstance(control, FormattedTextControl):
            _wrap_text(control)


def print_line(line: StyleAndTextTuples, application: Application[Any]) -> None:
    """Print a line, word-wrapped, where an application has ended.

    Args:
        line: styled text.
        application: gives the styles and the output.
    """
    output = application.output
    fragments, _ = _pad_line(line, output.get_size().columns)
    print_formatted_text(FormattedText(fragments), style=application.style, output=output)


def erase_line(line: StyleAndTextTuples, output: Output) -> None:
    """Erase a line, with the cursor below it.

    Args:
        line: the last line that ``print_line`` printed.
        output: where it was printed.
    """
    columns = output.get_size().columns
    fragments, _ = _pad_line(line, columns)
    output.cursor_up(max(1, -(-fragment_list_width(fragments) // columns)))
    output.write_raw("\r")
    output.erase_down()
    output.flush()


def _wrap_text(control: FormattedTextControl) -> None:
    text, style = control.text, control.style

    def wrap() -> StyleAndTextTuples:
        columns = get_app().output.get_size().columns
        lines = split_lines(to_formatted_text(text, style))
        padded_lines = [_pad_line(line, columns)[0] for line in lines]
        fragments = [fragment for line in padded_lines for fragment in [("", "\n"), *line]]
        return fragments[1:]

    control.text = wrap


class _WordWrapProcessor(Processor):
    """Wraps the text that a person types together with the prompt before it."""

    def __init__(self, prefix: Callable[[int, int], Any] | None) -> None:
        self._prefix = prefix

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        prefix = self._prefix(transformation_input.lineno, 0) if self._prefix else ""
        prompt = to_formatted_text(prefix)
        length = fragment_list_len(prompt)
        line = [*prompt, *transformation_input.fragments]
        fragments, positions = _pad_line(line, transformation_input.width)
        return Transformation(
            fragments,
            source_to_display=lambda source: positions[min(source + length, len(positions) - 1)],
            display_to_source=lambda shown: max(bisect_right(positions, shown) - 1 - length, 0),
        )


def _pad_line(line: StyleAndTextTuples, columns: int) -> tuple[StyleAndTextTuples, list[int]]:
    """Pad a line with spaces before each word that would be cut at the terminal's edge.

    Returns:
        the padded line, one fragment for each character; and the position in it of each character
        of the original line, and of the end.
    """
    # An empty fragment may mark the position of the cursor: it is kept.
    characters = [(style, char) for style, text, *_ in line for char in (text or [""])]
    fragments: StyleAndTextTuples = []
    positions, column, is_in_word = [], 0, False
    for number, (style, char) in enumerate(characters):
        if char and char != " " and not is_in_word:
            word = takewhile(lambda other: other != " ", (text for _, text in characters[number:]))
            width = sum(map(get_cwidth, word))
            if width < columns <= column + width:
                fragments += [("", " ")] * (columns - column)
                column = 0
        is_in_word = char != " " and (is_in_word or bool(char))
        column = get_cwidth(char) + (column if column + get_cwidth(char) <= columns else 0)
        if char:
            positions.append(len(fragments))
        fragments.append((style, char))
    return fragments, [*positions, len(fragments)]
