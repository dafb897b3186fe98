"""Real texts for the benchmarks: what Debian's archive says of its packages, by section.

    python -m tests.benchmarks.descriptions en|ja FILE

Asks apt for its lists, in a folder of its own, and writes a table with the columns text and label.
Descriptions that differ in case, spaces and punctuation alone stand in it once.
"""

import argparse
import csv
import random
import re
import subprocess
import tempfile
from pathlib import Path

SECTIONS = (
    *("admin", "editors", "games", "graphics", "mail", "math", "net"),
    *("science", "sound", "text", "utils", "video", "web"),
)
MOST = 6_000
ASKED = 2_000  # packages that apt is asked for at once


def write(language: str, file: Path) -> int:
    """Write the table and return how many texts it has."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"),
            *("-o", f"Acquire::Languages={language}"),
        ]
        for name in ("lists", "cache"):
            Path(folder, name, "partial").mkdir(parents=True)
        _output("apt-get", *options, "update")
        names = sorted(_output("apt-cache", *options, "pkgnames").split())
        asked = [names[i : i + ASKED] for i in range(0, len(names), ASKED)]
        shown = "".join(_output("apt-cache", *options, "show", *some, fails=True) for some in asked)
    texts: dict[str, tuple[str, str]] = {}
    for record in shown.split("\n\n"):
        section = re.search(r"^Section: (?:.*/)?(\S+)$", record, re.MULTILINE)
        told = re.search(rf"^Description-{language}: (.*(?:\n .*)*)", record, re.MULTILINE)
        if section and told and section[1] in SECTIONS:
            lines = (line.strip() for line in told[1].splitlines())
            text = " ".join(line for line in lines if line != ".")
            texts.setdefault("".join(filter(str.isalnum, text.casefold())), (text, section[1]))
    rows = list(texts.values())
    random.Random(0).shuffle(rows)
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("text", "label"), *rows[:MOST]])
    return len(rows[:MOST])


def _output(*command: str, fails: bool = False) -> str:
    # `apt-cache show` fails for names that are virtual, having shown all others.
    done = subprocess.run(command, capture_output=True, text=True, check=not fails)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.descriptions")
    parser.add_argument("language", choices=["en", "ja"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    print(f"{write(arguments.language, arguments.file)} texts: {arguments.file}")


if __name__ == "__main__":
    main()
