# What the run.sh of the examples share. Each sets `example` to its own folder and reads this file.
#   AISTART_PYTHON   a Python that has the project's packages; unset: .venv is made from the lock
#   SCALE            full (default), or small: everything once, in about a minute
set -euo pipefail

checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SCALE="${SCALE:-full}"

source "$checkout/examples/find_python.sh"
say() { printf '\n== %s\n' "$1"; }

case "$SCALE" in
    small | full) ;;
    *) fail "SCALE is '$SCALE'; allowed: small, full." ;;
esac

# A command that the reader may want to repeat: print it, then run it.
run() {
    printf '$'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# aistart of this machine, else that of this checkout, which is installed first if need be.
find_aistart() {
    if command -v aistart >/dev/null; then
        command -v aistart
        return
    fi
    if [ ! -x "$checkout/.venv/bin/aistart" ]; then
        "$(find_python)" -m venv "$checkout/.venv"
        "$checkout/.venv/bin/python" -m pip install --quiet --editable "$checkout"
    fi
    echo "$checkout/.venv/bin/aistart"
}

# make_project TEMPLATE FOLDER [OPTION…]: the project, unless it is there, and the variable `python`. Goes into
# the folder, with the project's command (its package's name) on the PATH.
make_project() {
    local tool parent
    parent="$(mkdir -p "$(dirname "$2")" && cd "$(dirname "$2")" && pwd)"
    project="$parent/$(basename "$2")"
    if [ ! -d "$project/.aistart" ]; then
        say "Making the project $project"
        tool="$(find_aistart)"
        run "$tool" new "$1" --defaults --answers "$example/answers.toml" \
            --set project_slug="$(basename "$project")" --output-dir "$parent" "${@:3}"
    fi
    cd "$project"
    package="$(basename "$(dirname "$(echo src/*/task.py)")")"
    if [ -n "${AISTART_PYTHON:-}" ]; then
        python="$AISTART_PYTHON"
        export PYTHONPATH="$project/src"
    else
        if [ ! -x ".venv/bin/$package" ]; then
            say "Installing its packages from requirements.lock (some minutes, once)"
            "$(find_python)" -m venv .venv
            .venv/bin/python -m pip install --quiet --requirement requirements.lock
            .venv/bin/python -m pip install --quiet --no-deps --editable .
        fi
        python="$project/.venv/bin/python"
    fi
    # The command as people type it, whichever Python runs it.
    eval "$package() { \"\$python\" -m \"\$package\" \"\$@\"; }"
}
