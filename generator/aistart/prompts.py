"""Questions on a terminal: arrow keys choose, answers are checked at once, Shift-Tab goes back."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aistart.answers import GoBack, add_required
from aistart.catalog import Template
from aistart.errors import UsageProblem, format_value
from aistart.questions import Question

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyBindings

_GO_BACK = object()
_HINT = "(Shift-Tab: back)"


class Terminal:
    """Asks a person at a terminal; implements ``answers.Prompter``. Ctrl-C ends the program."""

    def __init__(self) -> None:
        self._features: list[str] | None = None  # the selection when the person went back
        self._answered_lines: list[StyleAndTextTuples] = []  # as they stand on the terminal

    def ask_question(self, question: Question, dependencies: Iterable[str]) -> str:
        """As ``Prompter.ask_question``."""
        import questionary

        message = f"{question.prompt}:"
        if question.origin:
            message = f"{question.prompt} ({question.origin}):"
        if question.choices:
            choices = [
                questionary.Choice(question.labels.get(value, value), value)
                for value in question.choices
            ]
            prompt = questionary.select(
                message,
                choices,
                default=question.default if question.default in question.choices else None,
                instruction=_HINT,
            )
        else:
            prompt = questionary.text(
                message,
                default=question.default or "",
                validate=lambda text: _validate(question, text, dependencies),
            )
            _replace_default_by_typing(prompt.application)
        return str(self._run(prompt, message, lambda value: question.labels.get(value, value)))

    def ask_features(
        self, template: Template, preset: list[str], required: Iterable[str] = ()
    ) -> list[str]:
        """As ``Prompter.ask_features``."""
        import questionary

        selection = preset if self._features is None else self._features
        choices = [
            questionary.Choice(
                f"{name:<12} {feature.full_summary}",
                name,
                checked=name in selection and name not in required,
                disabled="required by the profile" if name in required else None,
            )
            for name, feature in template.features.items()
        ]
        hint = "(space: choose, enter: go on, Shift-Tab: back)"
        prompt = questionary.checkbox("Features:", choices, instruction=hint)
        try:
            names = self._run(
                prompt, "Features:", lambda names: _format_features(template, [*names, *required])
            )
            return [str(name) for name in names]
        except GoBack:
            self._features = _read_selection(prompt)
            raise

    def ask_template(self, titles: Mapping[str, str]) -> str:
        """Ask for one of several templates, given as titles by name, and return its name."""
        import questionary

        choices = [questionary.Choice(title or name, name) for name, title in titles.items()]
        return str(_ask(questionary.select("Template:", choices)))

    def ask_trust(self, reference: str) -> str:
        """Ask whether a foreign template may run; returns ``no``, ``once`` or ``always``."""
        import questionary

        choices = [
            questionary.Choice("no", "no"),
            questionary.Choice("yes, this once", "once"),
            questionary.Choice("yes, and remember it for this version", "always"),
        ]
        return str(_ask(questionary.select(f"Run the code of {reference}?", choices)))

    def _run(self, prompt: Any, message: str, format_answer: Callable[[Any], str]) -> Any:
        """Run a prompt of ``questionary`` and return the answer.

        Question and answer stay on the terminal as one line, until Shift-Tab at the next question
        takes it away.

        Args:
            prompt: from ``questionary``.
            message: the question.
            format_answer: formats the answer for that line.

        Raises:
            GoBack: the person pressed Shift-Tab.
        """
        from aistart.wrapping import erase_line, print_line

        application = prompt.application
        application.erase_when_done = True
        _bind_back_and_interrupt(application)
        answer = _ask(prompt)
        if answer is _GO_BACK:
            if self._answered_lines:
                erase_line(self._answered_lines.pop(), application.output)
            raise GoBack
        line: StyleAndTextTuples = [
            ("class:qmark", "?"),
            ("class:question", f" {message} "),
            ("class:answer", format_answer(answer)),
        ]
        print_line(line, application)
        self._answered_lines.append(line)
        return answer


def _format_features(template: Template, names: list[str]) -> str:
    """Format a choice of features, and say which others come with them."""
    every = add_required(template, names)
    added = ", ".join(name for name in every if name not in names)
    return (", ".join(every) or "none") + (f" ({added}: required by others)" if added else "")


def _ask(prompt: Any) -> Any:
    """Run a prompt of ``questionary``, word-wrapped, and return the answer."""
    from aistart.wrapping import wrap_words

    wrap_words(prompt.application)
    return prompt.unsafe_ask()


def _bind_back_and_interrupt(application: Any) -> None:
    """Bind Shift-Tab to go back, and make Ctrl-C leave the question on the terminal."""
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("s-tab", eager=True)
    def go_back(event: KeyPressEvent) -> None:
        event.app.exit(result=_GO_BACK)

    @keys.add("c-c", eager=True)
    def interrupt(event: KeyPressEvent) -> None:
        event.app.erase_when_done = False
        event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    _add_key_bindings(application, keys)


def _replace_default_by_typing(application: Any) -> None:
    """Select the default text, so that typing or pasting replaces it and arrow keys edit it."""
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

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

    _add_key_bindings(application, keys)


def _add_key_bindings(application: Any, keys: "KeyBindings") -> None:
    from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings

    application.key_bindings = merge_key_bindings([application.key_bindings or KeyBindings(), keys])


def _validate(question: Question, text: str, dependencies: Iterable[str]) -> bool | str:
    """Return True if the answer is accepted, else the message to show."""
    problem = question.problem(text, dependencies)
    if problem is not None:
        return f"{format_value(text)} {problem}."
    try:
        question.check(text)
    except UsageProblem as error:
        return error.message
    return True


def _read_selection(prompt: Any) -> list[str]:
    """Return the names that were selected in a checkbox prompt when the person left it."""
    from questionary.prompts.common import InquirerControl

    controls = prompt.application.layout.find_all_controls()
    (checkboxes,) = (control for control in controls if isinstance(control, InquirerControl))
    return [str(name) for name in checkboxes.selected_options]
