"""Fingerprints of lines, and the base of a merge that is rebuilt from them."""

import pytest

from aistart.update import fingerprints
from aistart.update.fingerprints import Fingerprints, Pristine, blob_id, rebuild


def take(text: str, path: str = "a") -> Pristine:
    return Fingerprints().take(path, "100644", text.encode())


def test_blob_is_that_of_git() -> None:
    assert blob_id(b"hello\n").hex() == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n",
        "a",
        "a\n",
        "a\n\n",
        "a\nb",
        "\r\n",
        "a\r\nb\r\n",
        "a\r\nb",
        "a\rb\n\x0c\x1c\n",
    ],
)
def test_text_that_is_known_is_rebuilt(text: str) -> None:
    pristine = take(text)
    assert len(pristine.lines or b"") == 5 * (
        text.count("\n") + (not text.endswith("\n") and text != "")
    )
    line_feeds = text.replace("\r\n", "\n")
    assert rebuild(pristine, [f"x\n{line_feeds}\ny".encode()]) == line_feeds.encode()


def test_whole_files_have_no_lines() -> None:
    assert take("a\n", "requirements.lock").lines is None
    assert take("a\0\n").lines is None
    assert Fingerprints().take("a", "120000", b"target").lines is None


def test_lines_that_nobody_has_are_placeholders_of_their_size() -> None:
    text = "\n".join(["known", "g" * 50, "h" * 40, "g" * 50, "known too"])
    rebuilt = rebuild(take(text), [b"known\n"], lambda: [b"known too\n"])
    first, second, third, fourth, fifth = rebuilt.split(b"\n")
    assert (first, fifth) == (b"known", b"known too")
    assert second == fourth != third
    assert len({len(line) for line in (second, third, fourth)}) == 1
    assert abs(len(rebuilt) - len(text)) < 3


def test_other_texts_are_read_only_where_they_are_needed() -> None:
    def fail() -> list[bytes]:
        raise AssertionError

    assert rebuild(take("a\nb\n"), [b"b\n", b"a\n"], fail) == b"a\nb\n"


@pytest.fixture
def collisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the same length have the same fingerprint."""

    class Hash:
        def __init__(self, line: bytes, digest_size: int) -> None:
            self._line = line

        def digest(self) -> bytes:
            return len(self._line).to_bytes(5, "big")

    monkeypatch.setattr(fingerprints, "blake2s", Hash)


@pytest.mark.usefixtures("collisions")
@pytest.mark.parametrize("other", [b"aa\nxx\n", b"bb\n"], ids=["both lines", "the wrong line"])
def test_fingerprint_of_two_lines_is_not_trusted(other: bytes) -> None:
    """A line of the user's that passes for a pristine one would be replaced silently."""
    assert rebuild(take("aa\n"), [other]).startswith(b"\x01")
