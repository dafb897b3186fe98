#!/usr/bin/env bash
# From a checkout of aistart to a trained, tracked image classifier:
#   bash examples/quickstart.sh [FOLDER]      (default: ./my-classifier)
# Needs Python 3.11 to 3.13 and git. Running it again goes on where it stands and trains once more.
set -euo pipefail

checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
example=quickstart
source "$checkout/examples/find_python.sh"
folder="${1:-my-classifier}"
tool="$checkout/.venv"

python="$(find_python)"
command -v git >/dev/null || fail "it needs git."

if [ ! -x "$tool/bin/aistart" ]; then
    echo "== Installing aistart into $tool"
    "$python" -m venv "$tool"
    "$tool/bin/python" -m pip install --quiet --editable "$checkout"
fi

if [ ! -d "$folder/.aistart" ]; then
    echo "== Making the project $folder"
    parent="$(dirname "$folder")"
    mkdir -p "$parent"
    "$tool/bin/aistart" new vision-classifier "$(basename "$folder")" --defaults \
        --set project_slug="$(basename "$folder")" --output-dir "$parent" >/dev/null
fi

cd "$folder"
if [ ! -x .venv/bin/train ]; then
    echo "== Installing its packages from requirements.lock (some minutes, once)"
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --requirement requirements.lock
    .venv/bin/python -m pip install --quiet --no-deps --editable .
fi

echo "== Training on scikit-learn's handwritten digits"
.venv/bin/train

echo
echo "To open MLflow's pages: cd $(printf '%q' "$PWD") && make ui   (then http://127.0.0.1:5000)"
