"""``completion bash|zsh|fish``: print a script that lets the shell complete commands and fields.

    eval "$(my-app completion bash)"

The script holds the words themselves, so that a press of the tab key starts no Python.
"""

import re

from ..config_loader import Parser, iterate_fields
from . import PROGRAM, Project

SCRIPT = {
    "bash": """\
_@function@() {
    local current="${COMP_WORDS[COMP_CWORD]}"
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@commands@" -- "$current"))
    elif [[ "$current" == -* ]]; then
        COMPREPLY=($(compgen -W "@flags@" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -F _@function@ @program@""",
    "zsh": """\
_@function@() {
    if (( CURRENT == 2 )); then
        compadd -- @commands@
    elif [[ "$words[CURRENT]" == -* ]]; then
        compadd -- @flags@
    else
        _files
    fi
}
compdef _@function@ @program@""",
    "fish": """\
complete -c @program@ -n __fish_use_subcommand -f -a "@commands@"
for flag in @flags@
    complete -c @program@ -n "not __fish_use_subcommand" -l (string sub -s 3 -- $flag)
end""",
}


def run(project: Project, words: list[str]) -> None:
    """Print the script for a shell."""
    parser = Parser(prog="completion", description="Print a completion script for a shell.")
    parser.add_argument("shell", choices=list(SCRIPT), help="the shell that reads it")
    shell = parser.parse_args(words).shell
    fields = [f"--{name}" for name, _ in iterate_fields(project.config)]
    flags = ["--config", "--debug", "--fresh", "--help", "--measure", "--resume"]
    words_of = {
        "function": PROGRAM.replace("-", "_"),
        "program": PROGRAM,
        "commands": " ".join(project.commands),
        "flags": " ".join([*flags, *fields]),
    }
    print(re.sub("@([a-z]+)@", lambda place: words_of[place[1]], SCRIPT[shell]))
