"""Rendering of chat templates, also as a program of its own: a JSON line in, a JSON line out.

A chat template comes with somebody else's model, and Jinja is a programming language. Its sandbox
keeps a template from the interpreter, but not from running for ever or filling the memory. So
``render_process.py`` runs this file as a process without files, with little memory, and ends it
when it takes too long. It imports nothing of the project and needs no package but Jinja.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

MAX_CHARACTERS = 4_000_000  # of a rendered chat
MAX_BYTES = 1 << 30  # of memory of the process
# Around what the model is to write, where a template has ``{% generation %}``. Noncharacters, which
# Unicode keeps out of texts; the tokenizer's own mark is another one.
ANSWER_START, ANSWER_END = "\ufdd1", "\ufdd2"


class GenerationBlock(jinja2.ext.Extension):
    """``{% generation %} … {% endgeneration %}``: its text is put between two marks."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """Read the block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_mark")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{ANSWER_START}{caller()}{ANSWER_END}"


def compile_template(source: str) -> jinja2.Template:
    """Compile a template with what ``transformers`` gives to chat templates.

    Args:
        source: of the template.

    Raises:
        jinja2.TemplateError: it is no template.
    """
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlock, jinja2.ext.loopcontrols],
    )
    del environment.globals["lipsum"]  # it reads a file
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _format_now
    return environment.from_string(source)


def render(template: jinja2.Template, variables: Mapping[str, Any]) -> str:
    """Return the text of a compiled template.

    Args:
        variables: by name.

    Raises:
        jinja2.TemplateError: the template refuses, or its text is too long.
    """
    parts, length = [], 0
    for part in template.generate(**variables):
        parts.append(part)
        length += len(part)
        if length > MAX_CHARACTERS:
            raise jinja2.TemplateError(f"it writes more than {MAX_CHARACTERS:,} characters")
    return "".join(parts)


def describe(error: BaseException) -> str:
    """Return an error in one line."""
    if isinstance(error, MemoryError | RecursionError):
        return "it needs too much memory"
    line = next(iter(str(error).splitlines()), "")[:300]
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {line}"
    return line or type(error).__name__


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter writes signs of HTML otherwise.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _format_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _limit() -> None:
    """Take files and most memory from this process, where the system can."""
    # What Python and Jinja read late is read now, also what they need for errors.
    render(compile_template("{{ strftime_now('%d %B %Y %H') }}{{ [1] | tojson }}"), {})
    for source in ("{{ raise_exception('') }}", "{% if %}"):
        with contextlib.suppress(jinja2.TemplateError):
            render(compile_template(source), {})
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limits = {
            resource.RLIMIT_NOFILE: 0,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_AS: MAX_BYTES,
        }
        for limit, value in limits.items():
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, (value, value))


def _answer(question: Mapping[str, Any], compiled: dict[str, jinja2.Template]) -> dict[str, Any]:
    try:
        source = question["source"]
        if source not in compiled:
            compiled.clear()
            compiled[source] = compile_template(source)
        return {"texts": [render(compiled[source], one) for one in question["variables"]]}
    except Exception as error:  # whatever a foreign program raises
        return {"error": describe(error)}


def main() -> None:
    """Answer the lines of standard input until it ends."""
    _limit()
    compiled: dict[str, jinja2.Template] = {}
    for line in sys.stdin:
        # ASCII: a text may have halves of pairs, which UTF-8 cannot write.
        print(json.dumps(_answer(json.loads(line), compiled)), flush=True)


if __name__ == "__main__":
    main()
