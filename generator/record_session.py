"""Run the commands of terminal sessions in the documents, and write their output below them.

A session is a block ```console between the marks below; its lines that begin with ``$ `` are kept.

python generator/record_session.py           write the documents
python generator/record_session.py --check   exit with 1 if a document has another output
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "README.zh.md", "generator/README.md")
BEGIN = "<!-- session: python generator/record_session.py -->\n```console\n"
END = "```\n<!-- end -->"
SESSION = re.compile(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", re.DOTALL)


def record_session(commands: tuple[str, ...]) -> str:
    """Run the commands in an empty home folder and return them with their output."""
    blocks = []
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ
        }
        programs = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
        environment = {**variables, "PATH": programs, "HOME": folder, "COLUMNS": "90"}
        for command in commands:
            result = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            blocks.append(f"$ {command}\n{result.stdout}")
    return "\n".join(blocks)


def record_sessions(text: str) -> str:
    """Return a document's text with the present output of all its sessions."""
    known: dict[tuple[str, ...], str] = {}

    def replace(match: re.Match[str]) -> str:
        lines = match[1].splitlines()
        commands = tuple(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
        if commands not in known:
            known[commands] = record_session(commands)
        return f"{BEGIN}{known[commands]}{END}"

    return SESSION.sub(replace, text)


def main() -> int:
    """Update or check the documents and return the exit code."""
    is_check, exit_code = "--check" in sys.argv[1:], 0
    for name in DOCUMENTS:
        path = REPOSITORY / name
        text = path.read_text(encoding="utf-8")
        updated = record_sessions(text)
        if updated == text:
            continue
        if is_check:
            print(f"{name}: a session has another output; run python {sys.argv[0]}.")
            exit_code = 1
        else:
            path.write_text(updated, encoding="utf-8")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
