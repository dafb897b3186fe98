"""Type the commands of the README's terminal session anew, and write what they say into it.

python generator/record_session.py           write README.md
python generator/record_session.py --check   exit with 1 if it says something else
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
    "aistart show recommender | sed -n '5,25p'",
    "aistart new recomender shop",
)


def session() -> str:
    """The commands with what they say, in a folder and a home without anything."""
    said = []
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        environment = {**kept, "PATH": programs, "HOME": folder, "COLUMNS": "90"}
        for command in COMMANDS:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said.append(f"$ {command}\n{done.stdout}")
    return "\n".join(said)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        print(f"{README.name}: the marks {shlex.quote(BEGIN)} and {shlex.quote(END)} are missing.")
        return 1
    made = f"{before}{BEGIN}{session()}{END}{after}"
    if "--check" in sys.argv[1:]:
        return 0 if made == text else 1
    README.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
