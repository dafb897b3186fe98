"""A real clinical table with gaps, as files; runs in the projects' environment.

    python diabetes.py TABLE.csv SCHEMA.yaml

scikit-learn's 442 patients with diabetes (Efron et al., 2004). The outcome is the worst quarter of
progression; a fifth of the values of six columns is taken away at random.
"""

import sys
from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_diabetes

MISSING = 0.2
MEASURED = ("bmi", "bp", "s1", "s2", "s3", "s6")


def main(table: Path, schema: Path) -> None:
    found = load_diabetes(as_frame=True, scaled=False)
    frame, random = found.data.copy(), np.random.default_rng(0)
    for name in MEASURED:
        frame.loc[random.random(len(frame)) < MISSING, name] = np.nan
    columns: dict[str, dict] = {name: {"kind": "number"} for name in frame.columns}
    columns["progression"] = {"kind": "outcome", "yes": "worse", "no": "other"}
    worse = found.target > np.quantile(found.target, 0.75)
    frame["progression"] = np.where(worse, "worse", "other")
    frame.to_csv(table, index=False)
    named = {"reviewed_by": "the benchmark", "columns": columns}
    schema.write_text(yaml.safe_dump(named, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
