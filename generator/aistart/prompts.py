"""Questions on a terminal: arrow keys for choices, checked while typing, a way back."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aistart.answers import Back
from aistart.catalog import Template
from aistart.errors import UsageProblem, shown
from aistart.questions import Question

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

_BACK = object()
_HINT = "(Shift-Tab: back)"


class Terminal:
    """Asks a person; Ctrl-C ends everything."""

    def __init__(self) -> None:
        self._features: list[str] | None = None  # as they were when the person went back
        self._lines: list[StyleAndTextTuples] = []  # answered ones, as they stand on the terminal

    def question(self, question: Question, dependencies: Iterable[str]) -> str:
        """As ``answers.Ask``."""
        import questionary

        message = f"{question.prompt}:"
        if question.origin:
            message = f"{question.prompt} ({question.origin}):"
        if question.choices:
            choices = [
                questionary.Choice(question.labels.get(value, value), value)
                for value in question.choices
            ]
            asked = questionary.select(
                message,
                choices,
                default=question.default if question.default in question.choices else None,
                instruction=_HINT,
            )
        else:
            asked = questionary.text(
                message,
                default=question.default or "",
                validate=lambda text: _said(question, text, dependencies),
            )
            _replace_default_by_typing(asked.application)
        return str(self._answer(asked, message, lambda value: question.labels.get(value, value)))

    def features(self, template: Template, preset: list[str]) -> list[str]:
        """As ``answers.Ask``."""
        import questionary

        chosen = preset if self._features is None else self._features
        choices = [
            questionary.Choice(f"{name:<12} {feature.summary}", name, checked=name in chosen)
            for name, feature in template.features.items()
        ]
        hint = "(space: choose, enter: go on, Shift-Tab: back)"
        asked = questionary.checkbox("Features:", choices, instruction=hint)
        try:
            names = self._answer(asked, "Features:", lambda names: ", ".join(names) or "none")
            return [str(name) for name in names]
        except Back:
            self._features = _selected(asked)
            raise

    def template(self, titles: Mapping[str, str]) -> str:
        """The name of one of several templates, which are offered by their titles."""
        import questionary

        choices = [questionary.Choice(title or name, name) for name, title in titles.items()]
        return str(_ask(questionary.select("Template:", choices)))

    def trust(self, word: str) -> str:
        """Whether another's template may run: 'no', 'once' or 'always'."""
        import questionary

        choices = [
            questionary.Choice("no", "no"),
            questionary.Choice("yes, this once", "once"),
            questionary.Choice("yes, and remember it for this version", "always"),
        ]
        return str(_ask(questionary.select(f"Run the code of {word}?", choices)))

    def _answer(self, asked: Any, message: str, said: Callable[[Any], str]) -> Any:
        """The answer to a question of ``questionary``, which stays on the terminal as one line
        until Shift-Tab leaves the question after it.

        Args:
            said: gives the answer as it is shown.
        """
        from aistart.wrapping import erase_line, print_line

        application = asked.application
        application.erase_when_done = True
        _bind_ways_out(application)
        answer = _ask(asked)
        if answer is _BACK:
            if self._lines:
                erase_line(self._lines.pop(), application.output)
            raise Back
        line: StyleAndTextTuples = [
            ("class:qmark", "?"),
            ("class:question", f" {message} "),
            ("class:answer", said(answer)),
        ]
        print_line(line, application)
        self._lines.append(line)
        return answer


def _ask(asked: Any) -> Any:
    """The answer to a question of ``questionary``, whose words are whole on any terminal."""
    from aistart.wrapping import wrap_words

    wrap_words(asked.application)
    return asked.unsafe_ask()


def _bind_ways_out(application: Any) -> None:
    """Shift-Tab goes back; Ctrl-C leaves what stands on the terminal."""
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings

    keys = KeyBindings()

    @keys.add("s-tab", eager=True)
    def back(event: KeyPressEvent) -> None:
        event.app.exit(result=_BACK)

    @keys.add("c-c", eager=True)
    def interrupt(event: KeyPressEvent) -> None:
        event.app.erase_when_done = False
        event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    application.key_bindings = merge_key_bindings([application.key_bindings or KeyBindings(), keys])


def _replace_default_by_typing(application: Any) -> None:
    """Mark the default as selected: typing or pasting replaces it, arrow keys begin to edit it."""
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings

    buffer = application.current_buffer
    if buffer.text:
        buffer.cursor_position = 0
        buffer.start_selection()
        buffer.selection_state.enter_shift_mode()
        buffer.cursor_position = len(buffer.text)
    keys = KeyBindings()

    @keys.add("<bracketed-paste>", eager=True)
    def paste(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.cut_selection()
        event.current_buffer.insert_text(text.rstrip("\n"))

    @keys.add("c-u", eager=True)
    def clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    @keys.add("enter", eager=True)
    def accept(event: KeyPressEvent) -> None:
        event.current_buffer.exit_selection()
        event.current_buffer.validate_and_handle()

    application.key_bindings = merge_key_bindings([application.key_bindings or KeyBindings(), keys])


def _said(question: Question, text: str, dependencies: Iterable[str]) -> bool | str:
    problem = question.problem(text, dependencies)
    if problem is not None:
        return f"{shown(text)} {problem}."
    try:
        question.check(text)
    except UsageProblem as error:
        return error.message
    return True


def _selected(asked: Any) -> list[str]:
    """What was chosen in a list of boxes that was left."""
    from questionary.prompts.common import InquirerControl

    controls = asked.application.layout.find_all_controls()
    (boxes,) = (control for control in controls if isinstance(control, InquirerControl))
    return [str(name) for name in boxes.selected_options]
