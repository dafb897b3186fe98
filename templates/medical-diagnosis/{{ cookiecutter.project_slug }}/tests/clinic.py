"""Tables of patients for the tests of models and commands."""

from pathlib import Path

import numpy as np
import pandas as pd

from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema

TRAITS = list("xyabcdef")
SCHEMA = Schema(
    reviewed_by="a doctor",
    columns={
        "who": Column(kind="patient"),
        **{name: Column(kind="number", min=-9, max=9) for name in TRAITS},
        "sex": Column(kind="category", values=("f", "m")),
        "died": Column(kind="outcome", yes="1", no="0"),
    },
)


def make_patients(size: int, visits: int = 1, seed: int = 0) -> pd.DataFrame:
    """Return visits of patients whose traits are independent of the outcome."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(size), visits)
    traits = random.normal(size=(size, len(TRAITS))).clip(-8, 8)
    values = traits[patient] + random.normal(0, 0.01, (len(patient), len(TRAITS)))
    frame = pd.DataFrame(values, columns=TRAITS)
    frame.insert(0, "who", [f"w{number}" for number in patient])
    frame["sex"] = np.where(random.random(size) < 0.5, "f", "m")[patient]
    return frame.assign(died=(random.random(size) < 0.5).astype(int)[patient])


def draw_outcome(logits: pd.Series, seed: int = 1) -> np.ndarray:
    """Draw outcomes (size,) with the given logits of the risk."""
    risk = 1 / (1 + np.exp(-logits))
    return (np.random.default_rng(seed).random(len(risk)) < risk).astype(int)


def write_table(frame: pd.DataFrame, schema: Schema = SCHEMA) -> list[str]:
    """Write the table and its schema to the current folder; return the words that name them."""
    frame.to_csv("table.csv", index=False)
    Path("schema.yaml").write_text(schema.to_yaml(), encoding="utf-8")
    return ["--data.source", "csv", "--data.path", "table.csv", "--data.schema_file", "schema.yaml"]
