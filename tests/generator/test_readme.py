"""The README in both languages: the same sections, commands, tables, pictures and links."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)]+)\)")
DOCUMENTS = ("README.md", "README.zh.md", "generator/README.md", "tests/benchmarks/README.md")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def remove_fences(text: str) -> str:
    return FENCE.sub("", text)


def list_commands(text: str) -> list[list[str]]:
    """Return the lines of each fence without comments, which are translated."""
    return [
        [language, *(re.sub(r"\s+#.*", "", line) for line in body.splitlines())]
        for language, body in FENCE.findall(text)
        if language != "text"
    ]


def list_tables(text: str) -> list[list[list[str]]]:
    """Return what stands in code spans, and the numbers, in each cell of each row."""
    rows = [line for line in remove_fences(text).splitlines() if line.startswith("|")]
    return [
        [sorted(re.findall(r"`[^`]+`|\d[\d.,]*\d", cell)) for cell in row.split("|")]
        for row in rows
    ]


def test_both_languages_have_the_same_sections() -> None:
    def list_levels(name: str) -> list[str]:
        return re.findall(r"^#+", remove_fences(read(name)), re.MULTILINE)

    assert list_levels("README.md") == list_levels("README.zh.md")


def test_both_languages_show_the_same_commands() -> None:
    assert list_commands(read("README.md")) == list_commands(read("README.zh.md"))


def test_both_languages_have_the_same_tables() -> None:
    english, chinese = list_tables(read("README.md")), list_tables(read("README.zh.md"))
    assert english == chinese


def test_both_languages_link_to_the_same_places() -> None:
    def list_links(name: str) -> list[str]:
        return [link for link in LINK.findall(read(name)) if link not in DOCUMENTS[:2]]

    assert list_links("README.md") == list_links("README.zh.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    folder = (REPOSITORY / name).parent
    missing = [
        link
        for link in LINK.findall(remove_fences(read(name)))
        if not link.startswith("http") and not (folder / link.partition("#")[0]).exists()
    ]
    assert not missing
