#!/usr/bin/env bash
# A team's own template, for forecasts: its project, a training, forecasts.
#   bash examples/own_template/run.sh [FOLDER]      (default: ./cafes)
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"

make_project "$example" "${1:-cafes}" --trust

if [ "$SCALE" = small ]; then
    settings=(--train.epochs 20)
else
    settings=()
fi

say "Training on the sales of 40 cafés"
run cafes_forecast train "${settings[@]}"

say "The next two weeks of a café at offices, and of one for leisure"
run cafes_forecast predict --series office-00 --series leisure-01

say "What is next"
echo "cd $project, open the newest runs/*/report/index.html, and start the service with its page:"
echo "cafes_forecast serve      (then http://127.0.0.1:8000)"
