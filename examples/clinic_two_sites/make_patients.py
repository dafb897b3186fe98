"""Discharges of two hospitals, generated: who is admitted again within 30 days?

    python make_patients.py FOLDER [--patients 4000] [--seed 0]

Writes ``FOLDER/site_a.csv`` and ``FOLDER/site_b.csv``, and the true risks, which no model sees, as
``site_a_risks.csv`` and ``site_b_risks.csv``. The sites differ in three ways:

- patients of B are five years older, and go home less often;
- at equal values, the odds of another admission are 1.8 times as high at B (a prevalence shift);
- the creatinine of B is measured by another method, which reads 20 % higher; CRP is ordered less.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

WARDS = ("cardiology", "general", "pulmonology", "surgery")


def generate(site: str, patients: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the discharges of a site, and their true risks (discharges,)."""
    random = np.random.default_rng((seed, ord(site)))
    is_b = site == "B"
    stays = 1 + random.binomial(3, 0.2, patients)  # discharges of each patient
    patient = np.repeat(np.arange(patients), stays)
    rows = len(patient)
    age = (random.normal(66 + 5 * is_b, 14, patients).clip(18, 98))[patient]
    female = (random.random(patients) < 0.5)[patient]
    frailty = random.normal(0, 1, patients)[patient]  # latent
    ward = random.choice(len(WARDS), rows, p=(0.25, 0.35, 0.15, 0.25))
    before = random.poisson(np.exp(-0.6 + 0.45 * frailty))  # admissions in the year before
    days = np.ceil(random.gamma(2.0, 2.2, rows) * np.exp(0.15 * frailty)).clip(1, 90)
    home = random.random(rows) < _sigmoid(2.4 - 0.5 * frailty - 0.03 * (age - 66) - 0.5 * is_b)
    haemoglobin = random.normal(13.4 - 0.8 * female - 0.5 * frailty, 1.3, rows).clip(5, 19)
    sodium = random.normal(138.5 - 0.6 * frailty, 3.2, rows).clip(112, 160)
    creatinine = np.exp(random.normal(4.4 + 0.12 * frailty + 0.005 * (age - 66), 0.28, rows))
    crp = np.exp(random.normal(2.4 + 0.25 * frailty, 0.9, rows))
    score = (
        -2.3
        + 0.018 * (age - 66)
        + 0.42 * np.minimum(before, 5)
        + 0.45 * np.log(days / 4)
        - 0.55 * home
        - 0.20 * (haemoglobin - 13)
        + 0.10 * np.maximum(136 - sodium, 0)
        + 1.5 * np.maximum(np.log(creatinine / 110), 0)
        + 0.25 * (np.log(crp) - 2.4)
        + np.array([0.35, 0.0, 0.25, -0.3])[ward]
        + np.log(1.8) * is_b
    )
    risk = _sigmoid(score)
    outcome = random.random(rows) < risk
    frame = pd.DataFrame(
        {
            "patient": [f"{site}{number:05d}" for number in patient],
            "hospital": site,
            "discharged": (
                np.datetime64("2022-01-01") + np.sort(random.integers(0, 900, rows))
            ).astype(str),
            "age": np.floor(age),
            "sex": np.where(female, "female", "male"),
            "ward": np.array(WARDS)[ward],
            "admissions_before": before,
            "days_in_hospital": days,
            "discharged_home": np.where(home, "yes", "no"),
            "haemoglobin": haemoglobin.round(1),
            "sodium": sodium.round(),
            "creatinine": (creatinine * (1.2 if is_b else 1.0)).round(),
            "crp": _leave_out(crp.round(1), 0.35 if is_b else 0.1, random),
            "readmitted": np.where(outcome, "yes", "no"),
        }
    )
    frame["haemoglobin"] = _leave_out(frame["haemoglobin"], 0.05, random)
    return frame, risk


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _leave_out(values: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(len(values)) < share, np.nan, values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=4000, help="of each site (4000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for site in ("A", "B"):
        frame, risk = generate(site, options.patients, options.seed)
        name = f"site_{site.lower()}"
        frame.to_csv(options.folder / f"{name}.csv", index=False)
        pd.DataFrame({"risk": risk.round(6)}).to_csv(
            options.folder / f"{name}_risks.csv", index=False
        )
        share = (frame["readmitted"] == "yes").mean()
        print(f"site {site}: {len(frame)} discharges, {share:.1%} admitted again")


if __name__ == "__main__":
    main()
