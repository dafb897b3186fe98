#!/usr/bin/env bash
# Tickets in two languages, a model that sorts them, the gate, and the API with a key:
#   bash examples/support_tickets/run.sh [FOLDER]      (default: ./tickets)
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"

make_project text-classifier "${1:-tickets}"

if [ "$SCALE" = small ]; then
    rows=1200 settings=(--model.name bag --train.epochs 3)
else
    rows=3000 settings=(--train.epochs 12)
fi

say "Writing $rows tickets"
"$python" "$example/make_tickets.py" data/tickets.csv --rows "$rows"

say "A look at the data; it writes configs/my_data.yaml"
run tickets inspect data/tickets.csv --force

say "Training, and the first promotion"
export APP__DATA__SLICE_COLUMNS=language
run tickets train --config configs/my_data.yaml "${settings[@]}" --fresh
run tickets promote

say "A worse model: the gate must refuse it"
run tickets train --config configs/my_data.yaml --model.name cnn --train.max_steps 20 --fresh
if run tickets promote; then
    fail "the gate let the worse model through."
else
    echo "(exit code $?)"
fi

say "The API, with the champion and a key"
run tickets serve keys remove helpdesk 2>/dev/null || true
key="$(tickets serve keys add helpdesk)"
port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
address="http://127.0.0.1:$port"
"$python" -m tickets serve --run models:/tickets@champion --serve.port "$port" \
    --serve.keys_file .env.keys.json >serve.log 2>&1 &
service=$!
trap 'kill "$service" 2>/dev/null || true' EXIT
until curl --silent --fail --output /dev/null "$address/readyz"; do
    kill -0 "$service" 2>/dev/null || fail "the service has ended: see $project/serve.log."
    sleep 0.5
done
ask() { curl --silent --show-error -H "Content-Type: application/json" "$@" "$address/predict"; }
echo '$ curl -H "Content-Type: application/json" -d @questions.json http://127.0.0.1:8000/predict'
ask --data @"$example/questions.json"
printf '\n$ curl -H "Authorization: Bearer KEY" -H "Content-Type: application/json" -d @questions.json …\n'
ask -H "Authorization: Bearer $key" --data @"$example/questions.json" >answers.json
"$python" -c 'import json, sys; sys.stdout.writelines(
    q["text"] + "\n" for q in json.load(open(sys.argv[1], encoding="utf-8")))' \
    "$example/questions.json" >questions.txt
tickets predict questions.txt --run models:/tickets@champion --json >predictions.jsonl
"$python" "$example/compare_answers.py" "$example/questions.json" answers.json predictions.jsonl

kill "$service"
wait "$service" || true
say "What is next"
echo "cd $project, and: tickets serve --run models:/tickets@champion --serve.follow true"
