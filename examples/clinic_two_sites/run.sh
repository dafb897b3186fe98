#!/usr/bin/env bash
# A risk model developed at site A, validated at site B, and updated there:
#   bash examples/clinic_two_sites/run.sh [FOLDER]      (default: ./readmission)
example="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$example/../common.sh"

make_project medical-diagnosis "${1:-readmission}"

if [ "$SCALE" = small ]; then
    patients=1200 settings=(--model.name logistic --train.epochs 4)
else
    patients=4000 settings=(--train.epochs 10)
fi

say "Generating $patients patients of each site"
"$python" "$example/make_patients.py" data --patients "$patients"

say "A proposal for the schema of site A, and what a person made of it"
run readmission inspect data/site_a.csv --force
diff --unified=0 configs/my_data_schema.yaml "$example/schema.yaml" | grep '^[-+] .*[a-z]' || true
cp "$example/schema.yaml" configs/my_data_schema.yaml

say "Developing the model at site A"
run readmission train --config configs/my_data.yaml "${settings[@]}" --fresh
at_a="$(basename "$(ls -d runs/*/ | tail -1)")"

say "External validation: all patients of site B"
mkdir -p reports
run readmission evaluate --run "$at_a" --data.path data/site_b.csv --data.split external \
    --output reports/site_b | tee reports/site_b.txt

say "The model card of A's model, with what people have to say"
cp "$example"/model_card/*.md docs/model_card/
"$python" "$example/write_limits.py" reports/site_b.txt docs/model_card/limits.md
run readmission evaluate --run "$at_a" >reports/site_a.txt

say "A's model on the patients that the update below does not see"
run readmission evaluate --run "$at_a" --data.path data/site_b.csv --output reports/site_b_test \
    | tee reports/site_b_test.txt

say "Updating at site B: A's weights, fitted and recalibrated on B's patients"
run readmission train --config configs/my_data.yaml "${settings[@]}" --fresh \
    --data.path data/site_b.csv --train.init_from "$at_a"

say "What is next"
echo "cd $project, open reports/site_b/index.html, and read runs/$at_a/report/MODEL_CARD.md"
