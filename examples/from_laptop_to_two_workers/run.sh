#!/usr/bin/env bash
# One process, two workers, one of them killed, and what Kubernetes would start:
#   bash examples/from_laptop_to_two_workers/run.sh [FOLDER]      (default: ./digits)
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"

make_project vision-classifier "${1:-digits}"

if [ "$SCALE" = small ]; then
    length=(--train.epochs 3 --train.checkpoint_every_steps 10) killed_at=50
else
    length=(--train.epochs 20 --train.checkpoint_every_steps 50) killed_at=400
fi
settings=("${length[@]}" --train.log_every_steps 1 --train.steps_per_execution 1 --tracking.enabled false)
newest_run() { ls runs | tail -n 1; }

say "One process"
run digits train --fresh "${settings[@]}"
one="$(newest_run)"

say "Two workers"
run digits launch --workers 2 -- --fresh "${settings[@]}"
two="$(newest_run)"

say "Two workers again, one of which is killed at step $killed_at"
"$python" -m digits launch --workers 2 -- --fresh "${settings[@]}" >killed.log 2>&1 &
launch=$!
"$python" "$example/kill_worker.py" "$launch" "$killed_at"
code=0
wait "$launch" || code=$?
tail -n 1 killed.log
[ "$code" -ne 0 ] || fail "launch ended with 0, though a worker was killed."

say "The same command again"
run digits launch --workers 2 -- "${settings[@]}"
resumed="$(newest_run)"

say "What the manifests for Kubernetes say, checked"
tool="$(command -v kubernetes-validate || echo "$checkout/.venv/bin/kubernetes-validate")"
if [ -x "$tool" ]; then
    (cd deploy/kubernetes && "$tool" --strict storage.yaml one_gpu.yaml)
else
    echo "kubernetes-validate is not here; pip install kubernetes-validate checks them."
fi

say "The workers of several_nodes.yaml, on this machine"
"$python" "$example/rehearse.py" deploy/kubernetes/several_nodes.yaml -- "${settings[@]}" \
    --train.seed 0 --fresh
rehearsed="$(newest_run)"

say "All of them"
"$python" "$example/compare.py" \
    one_process="$one" two_workers="$two" killed="$resumed" manifest="$rehearsed"
