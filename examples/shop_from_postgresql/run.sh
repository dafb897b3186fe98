#!/usr/bin/env bash
# Events in PostgreSQL, a recommender on them, promoted and served; then a new week of events:
#   bash examples/shop_from_postgresql/run.sh [FOLDER]      (default: ./shop)
#   DATABASE_URL   a database of yours, as postgresql+psycopg://HOST/NAME with PGUSER and PGPASSWORD;
#                  unset: a throw-away PostgreSQL in FOLDER, with a second database for MLflow
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"
source "$example/postgresql.sh"

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# What was started ends with the script, the last first.
ends=()
at_exit() { ends=("$1" "${ends[@]}"); }
end_all() {
    local command
    for command in "${ends[@]}"; do eval "$command" || true; done
}
trap end_all EXIT

wait_until() { # SECONDS WHAT COMMAND…
    local deadline=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what did not answer; see $logs."
        sleep 0.5
    done
}

make_project recommender "${1:-shop}"
logs="$project/story"
mkdir -p "$logs"
if [ -z "${AISTART_PYTHON:-}" ]; then
    .venv/bin/python -m pip install --quiet --editable '.[postgresql]'
fi

if [ "$SCALE" = small ]; then
    customers=600 settings=(--model.embedding_dim 32 --model.num_blocks 1 --data.max_history 16 --train.epochs 6)
else
    customers=4000 settings=()
fi

say "PostgreSQL"
if [ -n "${DATABASE_URL:-}" ]; then
    events="$DATABASE_URL" store="sqlite:///$project/mlflow.db"
else
    start_postgresql "$project/postgresql"
    events="postgresql+psycopg:///shop" store="postgresql+psycopg:///mlflow"
fi
"$python" "$example/load_events.py" "$events" --until 350 --customers "$customers"

say "MLflow's server, with the same PostgreSQL"
port="$(free_port)"
export MLFLOW_TRACKING_URI="http://127.0.0.1:$port"
MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false setsid "$python" -m mlflow server --workers 1 \
    --backend-store-uri "$store" --artifacts-destination "$project/story/artifacts" \
    --host 127.0.0.1 --port "$port" >"$logs/mlflow.log" 2>&1 &
at_exit "kill -- -$!"
wait_until 300 "MLflow's server" curl -fs "$MLFLOW_TRACKING_URI/health"
echo "$MLFLOW_TRACKING_URI"

source_of_events=(
    --data.source sql --data.path "$events"
    --data.query "SELECT customer, product, bought_at FROM events"
    --data.user_column customer --data.item_column product --data.timestamp_column bought_at
)

say "Training on the table, and the first champion"
run shop train "${source_of_events[@]}" "${settings[@]}"
run shop promote

say "The service, which follows the champion"
port="$(free_port)"
service="http://127.0.0.1:$port"
"$python" -m shop serve --run models:/shop@champion --serve.follow true --serve.follow_seconds 2 \
    --serve.port "$port" >"$logs/serve.log" 2>&1 &
served=$!
at_exit "kill $served; wait $served"
wait_until 300 "the service" curl -fs "$service/readyz"
ask() { # FILE: the answer for a customer, and the version that gave it, as X-Model of the header
    curl -fsS -D "$1.headers" -o "$1" -H "Content-Type: application/json" \
        -d '{"user": "u0042", "top_k": 5}' "$service/predict"
    grep -i '^x-model:' "$1.headers" | tr -d '\r'
}
is_newer() { [ "$(ask "$logs/after.json")" != "$first" ]; }
first="$(ask "$logs/before.json")"
echo "$first"
cat "$logs/before.json" && echo

say "A new week of events, trained on, compared with the champion, promoted"
"$python" "$example/load_events.py" "$events" --until 357 --customers "$customers"
run shop train "${source_of_events[@]}" "${settings[@]}"
run shop promote

say "The service has gone on, and answers with the new champion"
wait_until 60 "the new champion" is_newer
ask "$logs/after.json"
cat "$logs/after.json" && echo
