#!/usr/bin/env bash
# Photos of parts, a model that sorts them, its report, and whether it looks at the defect:
#   bash examples/parts_with_defects/run.sh [FOLDER]      (default: ./parts)
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"

make_project vision-classifier "${1:-parts}"

if [ "$SCALE" = small ]; then
    each=160 fresh=6
    settings=(--data.image_size 48 --train.epochs 20 --data.batch_size 16 --train.early_stopping_patience 0)
    settings+=(--train.learning_rate 0.001) # so small a set is not always learned at the default, 0.003
else
    each=250 fresh=50 settings=(--data.image_size 64 --train.epochs 20 --data.batch_size 32)
fi

say "Rendering $each photos of each class"
"$python" "$example/make_parts.py" data --each "$each"

say "A look at the data; it writes configs/my_data.yaml"
run parts inspect data/photos --force

say "Training"
run parts train --config configs/my_data.yaml --model.name resnet "${settings[@]}"

say "Does it look at the defect? On $fresh new photos of each class"
"$python" "$example/make_parts.py" fresh --each "$fresh" --seed 1
run parts predict fresh/photos --json --explain --output explained.jsonl
"$python" "$example/measure_heat.py" fresh explained.jsonl --picture heat.jpg

say "What is next"
echo "cd $project, open the newest runs/*/report/index.html, and start the service with its page:"
echo "parts serve      (then http://127.0.0.1:8000)"
