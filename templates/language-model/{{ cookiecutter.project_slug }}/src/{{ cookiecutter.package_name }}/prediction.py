"""Arguments of ``predict`` and formatting of its output: texts are continued, chats answered."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.errors import DataProblem, UsageProblem
from .engine.tables import iterate_parts

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .engine.interfaces import Split
    from .generation.generator import Completion
    from .generation.sampling import Sampling
    from .inputs import Request

MAX_BEAMS = 64
ASK = "> "  # before what a user types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the prompts, and how they are answered."""
    parser.add_argument(
        "input",
        nargs="*",
        help="prompts; files with one in each line, or with rows as JSON (.jsonl: prompt or "
        "messages); - for standard input",
    )
    add = parser.add_argument
    add(
        "--chat",
        action=argparse.BooleanOptionalAction,
        help="answer messages instead of continuing texts; without an input, talk in the terminal "
        "(unset: as the model has learnt)",
    )
    add("--system", metavar="TEXT", help="first message of each chat")
    add("--temperature", type=float, metavar="T", help="0: the likeliest text (0.8)")
    add("--top-k", type=int, metavar="N", help="so many of the likeliest tokens (all)")
    add("--top-p", type=float, metavar="P", help="likeliest tokens of this probability (1)")
    add("--beams", type=int, metavar="N", help="beam search instead of chance, so wide")
    add("--seed", type=int, metavar="N", help="the same seed gives the same text (0)")
    add("--max-tokens", type=int, metavar="N", help="of an answer (as many as there is room for)")
    add("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    add(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="print a text while it is written (unset: one prompt in a terminal)",
    )


def predict(
    model: Artifact, arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Yield a row with ``id``, ``prediction``, ``finish_reason`` and ``tokens`` for each prompt.

    A text that is streamed is printed at once, and has no row.

    Args:
        model: writes.
        arguments: as ``add_arguments`` defines them.
        config: that of the model's run.

    Raises:
        DataProblem: an input is unreadable; raised before the first prediction.
        UsageProblem: an argument is wrong.
    """
    from . import inputs

    sampling = read_sampling(arguments, model)
    is_chat = _is_chat(arguments, model)
    if not arguments.input:
        if is_chat and sys.stdin.isatty():
            return _talk(model, sampling, arguments.system)
        if sys.stdin.isatty():
            raise UsageProblem("input: give a prompt, a file, or - for standard input.")

    def read() -> Iterator[tuple[str, Request]]:
        for key, row in _read_rows(arguments.input or ["-"], is_chat, arguments.system):
            try:
                yield key, inputs.read_row(row, model.preprocessing, sampling)
            except DataProblem as error:
                raise DataProblem(f"input {_shorten(key)}: {error}") from None

    # All are read before the first is answered: a wrong one stops it all.
    requests = list(read())
    if not requests:
        raise DataProblem(f"input: there is no prompt in {', '.join(map(repr, arguments.input))}.")
    if _streams(arguments, len(requests)):
        return _stream(model, requests)
    return _answer_all(model, requests, arguments)


def respond(model: Artifact, split: Split, config: Config | None) -> list[dict[str, Any]]:
    """Return an answer with ``prediction``, ``finish_reason`` and ``tokens`` to each request.

    Args:
        model: writes.
        split: of ``inputs.read_requests``.
        config: part of the engine's interface.
    """
    import tensorflow as tf

    from . import inputs
    from .generation.generator import generate

    raw = split.fetch(tf.range(len(split), dtype=tf.int64))
    if isinstance(raw, dict):  # rows of a data set, which have no prompt
        return model.task.decode_predictions(model.predict_split(split, 64), model.preprocessing)
    requests = [inputs.Request.from_json(text) for text in raw.numpy()]
    completions = generate(model, [r.ids for r in requests], [r.sampling for r in requests])
    return list(map(_describe, completions))


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Format each row: a text alone as it is, several ones under their prompts."""
    rest = iter(rows)
    first = list(islice(rest, 2))
    if len(first) == 1:
        yield _show(first[0]["prediction"])
        return
    for number, row in enumerate(chain(first, rest)):
        if number:
            yield ""
        yield f"[{_shorten(row['id'])}]"
        yield _show(row["prediction"])


def read_sampling(arguments: argparse.Namespace, model: Artifact) -> Sampling:
    """Return how answers are chosen.

    Raises:
        UsageProblem: a value is out of its range, or two do not go together.
    """
    from . import inputs
    from .generation.sampling import Sampling

    names = ("temperature", "top_k", "top_p", "seed", "max_tokens")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        sampling = Sampling(**given, stop=tuple(arguments.stop or ()))
        inputs.check_max_tokens(sampling.max_tokens, model.preprocessing)
    except (UsageProblem, DataProblem) as error:
        name, _, rest = str(error).partition(":")
        raise UsageProblem(f"--{name.replace('_', '-')}:{rest}") from None
    beams = arguments.beams
    if beams is not None and not 1 <= beams <= MAX_BEAMS:
        raise UsageProblem(f"--beams: {beams} is not a number from 1 to {MAX_BEAMS}.")
    chance = [name for name in ("temperature", "top_k", "top_p", "seed") if name in given]
    if beams is not None and chance:
        raise UsageProblem(
            f"--beams: it leaves nothing to chance; leave out --{chance[0].replace('_', '-')}."
        )
    if arguments.stream and (beams is not None or arguments.json or arguments.output):
        raise UsageProblem("--stream: not with --beams, --json or --output.")
    return sampling


def _is_chat(arguments: argparse.Namespace, model: Artifact) -> bool:
    from . import inputs
    from .datasets.corpus import TEXT

    can = inputs.can_chat(model.preprocessing)
    wants = arguments.chat
    if wants is None:
        wants = model.preprocessing.kind != TEXT
    if wants and not can:
        raise UsageProblem("--chat: this model has learnt texts, not chats; give it a prompt.")
    if arguments.system is not None and not wants:
        raise UsageProblem("--system: only chats have such a message; add --chat.")
    return bool(wants)


def _streams(arguments: argparse.Namespace, count: int) -> bool:
    if arguments.stream is not None:
        return bool(arguments.stream)
    is_whole = arguments.json or arguments.output or arguments.beams is not None
    return count == 1 and not is_whole and sys.stdout.isatty()


def _read_rows(
    words: list[str], is_chat: bool, system: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an id and a row for each prompt."""
    from . import inputs

    for word in words:
        if word == "-":
            lines = enumerate(sys.stdin, start=1)
            rows: Iterable[tuple[str, dict[str, Any]]] = (
                (str(number), {"prompt": text}) for number, line in lines
                if (text := line.rstrip("\r\n"))
            )  # fmt: skip
        elif _is_file(word):
            rows = inputs.read_file(Path(word))
        else:
            rows = [(word or "(empty)", {"prompt": word})]
        for key, row in rows:
            if is_chat and row.get("prompt") is not None and "messages" not in row:
                row["messages"] = [{"role": "user", "content": row.pop("prompt")}]
            if system is not None and isinstance(row.get("messages"), list):
                row["messages"] = _open(system) + row["messages"]
            yield key, row


def _open(system: str | None) -> list[dict[str, Any]]:
    return [] if system is None else [{"role": "system", "content": system}]


def _answer_all(
    model: Artifact, requests: list[tuple[str, Request]], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    from .generation.generator import beam_search, generate

    for part in iterate_parts(iter(requests), arguments.batch_size):
        each = [request for _, request in part]
        if arguments.beams is None:
            completions = generate(model, [r.ids for r in each], [r.sampling for r in each])
        else:
            completions = [
                beam_search(
                    model, r.ids, arguments.beams, r.sampling.max_tokens, r.sampling.stop
                )
                for r in each
            ]  # fmt: skip
        for (key, _), completion in zip(part, completions, strict=True):
            yield {"id": key, **_describe(completion)}


def _stream(model: Artifact, requests: list[tuple[str, Request]]) -> Iterator[dict[str, Any]]:
    """Print answers one after the other, as they are written; there are no rows."""
    from .generation.generator import generate

    for number, (key, request) in enumerate(requests):
        if len(requests) > 1:
            print(f"{'' if number == 0 else chr(10)}[{_shorten(key)}]")
        generate(model, [request.ids], request.sampling, _print)
        print()
    return iter(())


def _talk(model: Artifact, sampling: Sampling, system: str | None) -> Iterator[dict[str, Any]]:
    """Answer what a user types until the input ends; there are no rows."""
    from . import inputs
    from .generation.generator import generate

    print("Type a message; /new begins a new chat, and Ctrl-D ends it.")
    messages = _open(system)
    while (text := _ask(input)) is not None:
        if text == "/new":
            messages = _open(system)
        elif text:
            asked = [*messages, {"role": "user", "content": text}]
            try:
                ids = inputs.encode_messages(asked, model.preprocessing)
            except DataProblem as error:
                print(f"{error} /new begins a new chat.")
                continue
            [completion] = generate(model, [ids], sampling, _print)
            print()
            messages = [*asked, {"role": "assistant", "content": completion.text}]
    return iter(())


def _ask(read: Callable[[str], str]) -> str | None:
    """Return the line that a user types; None at the end of the input."""
    try:
        return read(ASK).strip()
    except EOFError:
        print()
        return None


def _print(number: int, text: str) -> None:
    print(_show(text), end="", flush=True)


def _show(text: str) -> str:
    """Return a text as a terminal may show it: no control characters but line breaks and tabs."""
    is_shown = lambda c: c in "\n\t" or unicodedata.category(c) != "Cc"  # noqa: E731
    return "".join(c if is_shown(c) else "\ufffd" for c in text)


def _shorten(text: str) -> str:
    line = _show(text).replace("\n", " ")
    return line if len(line) <= 60 else f"{line[:60]}…"


def _describe(completion: Completion) -> dict[str, Any]:
    return {
        "prediction": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": completion.token_count,
    }


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # longer than a file name may be, or with a NUL byte
        return False
