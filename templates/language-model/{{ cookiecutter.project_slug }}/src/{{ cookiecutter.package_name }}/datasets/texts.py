"""Text files of any size: read in chunks, and cut where a paragraph, a line or a word ends."""

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..engine.errors import UsageProblem
from .splits import SPLIT_NAMES

SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org")
CHUNK = 2**20  # bytes read at a time
LONGEST = 2**16  # characters that are tokenised at a time
# Where a text may be cut, the best first: between paragraphs, lines, sentences, words.
BORDERS = (
    re.compile(r"\n[ \t]*\n\s*(?=\S)"),
    re.compile(r"\n(?=[^\n])"),
    re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[\u3002\uff01\uff1f])"),
    re.compile(r"\s(?=\S)"),
)


class Unreadable(Exception):
    """A text cannot be read; the message is the reason."""


def find_texts(folder: Path) -> list[tuple[Path, str]]:
    """Find the text files below a folder, sorted by path, each with its split or ''.

    Files in ``train/`` with optional ``validation/`` and ``test/`` are in these splits.
    """
    has_splits = (folder / "train").is_dir()
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if path.suffix.lower() not in SUFFIXES:
            continue
        split = SPLIT_NAMES.get(parts[0].lower(), "") if has_splits and len(parts) > 1 else ""
        if split or not has_splits:
            found.append((path, split))
    return found


def read_chunks(path: Path, encoding: str) -> Iterator[str]:
    """Yield a file's text in chunks, with ``\\n`` at the ends of lines.

    Raises:
        Unreadable: it is not in this encoding, or binary.
        UsageProblem: the encoding is unknown.
    """
    inner = codecs.getincrementaldecoder(codec(encoding))("strict")
    decoder = io.IncrementalNewlineDecoder(inner, translate=True)
    start = characters = 0
    try:
        with path.open("rb") as file:
            while True:
                content = file.read(CHUNK)
                try:
                    text = decoder.decode(content, final=not content)
                except UnicodeDecodeError as error:
                    # The decoder has kept the beginning of a character of the chunk before.
                    place = start - (len(error.object) - len(content)) + error.start
                    raise Unreadable(_explain(path, encoding, max(place, 0))) from None
                except UnicodeError as error:  # such as UTF-16 without a byte order mark
                    raise Unreadable(f"not {encoding}: {error}") from None
                if "\0" in text:
                    place = characters + text.index("\0")
                    raise Unreadable(f"a NUL at character {place}; it is no text but binary")
                if text:
                    yield text
                if not content:
                    return
                start, characters = start + len(content), characters + len(text)
    except OSError as error:
        raise Unreadable(str(error.strerror)) from None


def _explain(path: Path, encoding: str, place: int) -> str:
    guess = guess_encoding(path)
    hint = "" if guess in ("", encoding) else f"; --data.encoding {guess} may be right"
    return f"not {encoding} at byte {place}{hint}"


def guess_encoding(path: Path) -> str:
    """Return the likeliest encoding of a file by its name in Python, or ''."""
    with path.open("rb") as file:
        sample = file.read(CHUNK)
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # Incremental, since the sample may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(sample[: 2**16]).best()
    return best.encoding if best else ""


def codec(encoding: str) -> str:
    """Return the name of Python's codec for an encoding.

    Raises:
        UsageProblem: there is none.
    """
    try:
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)
    except LookupError:
        raise UsageProblem(
            f"data.encoding: {encoding!r} is unknown; Python knows utf-8, gb18030, cp1252, …"
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def cut_texts(chunks: Iterable[str], longest: int = LONGEST) -> Iterator[str]:
    """Cut a text that comes in chunks into pieces of bounded length, at the best border there is.

    Joined, the pieces are the text.

    Args:
        chunks: the text.
        longest: characters of a piece.
    """
    rest = ""
    for chunk in chunks:
        rest += chunk
        begin = 0
        while len(rest) - begin > longest:
            end = begin + find_border(rest[begin : begin + longest])
            yield rest[begin:end]
            begin = end
        rest = rest[begin:]
    if rest:
        yield rest


def find_border(text: str) -> int:
    """Return where to cut a text: at the last best border of its second half, else at its end."""
    half = len(text) // 2
    for border in BORDERS:
        last = None
        for last in border.finditer(text, half):  # noqa: B007
            pass
        if last is not None and last.end() > half:
            # A space belongs to the word behind it, as for the tokens.
            return last.start() if last.group() == " " else last.end()
    return len(text)
