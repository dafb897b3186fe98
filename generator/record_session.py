"""Run the commands of the README's terminal session, and write them with their output into it.

python generator/record_session.py           write README.md
python generator/record_session.py --check   exit with 1 if the README has another output
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- session: python generator/record_session.py -->\n```\n", "```\n<!-- end -->\n"
COMMANDS = (
    "aistart list",
    "aistart new vision-classifier my-app --defaults --set license=MIT --with kubernetes",
    "aistart show recommender | sed -n '5,40p'",
    "aistart new recomender shop",
)


def record_session() -> str:
    """Run the commands in an empty home folder and return them with their output."""
    blocks = []
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ
        }
        programs = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
        environment = {**variables, "PATH": programs, "HOME": folder, "COLUMNS": "90"}
        for command in COMMANDS:
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


def main() -> int:
    """Update or check the README and return the exit code."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        print(f"{README.name}: the marks {shlex.quote(BEGIN)} and {shlex.quote(END)} are missing.")
        return 1
    updated = f"{before}{BEGIN}{record_session()}{END}{after}"
    if "--check" in sys.argv[1:]:
        return 0 if updated == text else 1
    README.write_text(updated, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
