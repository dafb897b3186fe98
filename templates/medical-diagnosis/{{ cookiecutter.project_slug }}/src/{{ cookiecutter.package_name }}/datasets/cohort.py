"""Generate a synthetic cohort: patients with several visits at five hospitals, and true risks.

A patient has lasting traits, and visits at which some of them are measured with noise. Laboratory
values are ordered when a doctor sees a reason, so a missing value is informative. One hospital has
older and sicker patients and an analyser that reads high. The outcome within a year of a visit is a
Bernoulli draw with the true risk.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

NUM_PATIENTS = 2_500
MAX_VISITS = 6
SITES = {"north": 0.3, "east": 0.25, "south": 0.2, "west": 0.15, "harbour": 0.1}
SHIFTED_SITE = "harbour"  # older and sicker patients, creatinine 10 % too high
DIAGNOSES = ("none", "hypertension", "diabetes", "both")
FIRST_DAY = np.datetime64("2018-01-01")
NUM_DAYS = 5 * 365
# How often each laboratory value is measured, relative to the most frequent one.
LAB_RATES = {"creatinine": 1.0, "hba1c": 0.9, "ldl": 0.8}
COLUMNS: dict[str, dict[str, Any]] = {
    "patient": {"kind": "patient"},
    "site": {"kind": "site"},
    "visit_date": {"kind": "time"},
    "first_visit": {"kind": "date"},
    "age": {"kind": "number", "unit": "years", "min": 0, "max": 120, "bands": (45, 60, 75)},
    "sex": {"kind": "category", "values": ("female", "male"), "subgroup": True},
    "smoker": {"kind": "boolean", "yes": "yes", "no": "no"},
    "diagnosis": {"kind": "category", "values": DIAGNOSES},
    "bmi": {"kind": "number", "unit": "kg/m²", "min": 8, "max": 100},
    "systolic_pressure": {"kind": "number", "unit": "mmHg", "min": 40, "max": 300},
    "creatinine": {"kind": "number", "unit": "µmol/l", "min": 15, "max": 1500},
    "hba1c": {"kind": "number", "unit": "%", "min": 2.5, "max": 20},
    "ldl": {"kind": "number", "unit": "mmol/l", "min": 0.1, "max": 15},
    "outcome": {"kind": "outcome", "yes": "yes", "no": "no"},
}


@dataclass(frozen=True)
class Cohort:
    """Visits, ordered by patient and time.

    Attributes:
        frame: one row for each visit, with the columns of ``COLUMNS``.
        risk: (visits,) float64 true probabilities of the outcome.
    """

    frame: pd.DataFrame
    risk: np.ndarray


def generate(patients: int = NUM_PATIENTS, seed: int = 0) -> Cohort:
    """Generate a cohort; the same arguments give the same one.

    Args:
        patients: number of patients; each has 1 to 6 visits.
        seed: of the random generator.
    """
    random = np.random.default_rng(seed)
    visits = 1 + random.binomial(MAX_VISITS - 1, 0.35, patients)
    patient = np.repeat(np.arange(patients), visits)  # (visits,)
    site = random.choice(list(SITES), patients, p=list(SITES.values()))
    shifted = site == SHIFTED_SITE
    age = random.normal(58, 13, patients).clip(19, 94) + 4 * shifted
    female = random.random(patients) < 0.52
    smoker = random.random(patients) < np.where(female, 0.18, 0.27)
    weight = random.normal(0, 1, patients)  # latent; behind several measurements
    diagnosis = _draw_diagnoses(age, weight, random)
    first = random.integers(0, NUM_DAYS - 400, patients)
    day = first[patient] + _draw_visit_days(visits, random)

    def measure(base: np.ndarray, spread: float, digits: int) -> np.ndarray:
        return np.round(base[patient] + random.normal(0, spread, len(patient)), digits)

    pressure = 118 + 0.35 * (age - 50) + 6 * weight + 12 * np.isin(diagnosis, (1, 3))
    sugar = 5.5 + 0.25 * weight + 1.5 * np.isin(diagnosis, (2, 3)) + random.normal(0, 0.3, patients)
    kidneys = np.exp(random.normal(-0.15, 0.22, patients) + 0.006 * (age - 58)) - 0.1 * female
    fat = 3.1 + 0.3 * weight + random.normal(0, 0.7, patients)
    mass = 26.5 + 3.2 * weight + random.normal(0, 2.5, patients)
    # Risk rises with age, faster for smokers; kidneys matter beyond a threshold.
    score = (
        -3.1
        + (0.045 + 0.02 * smoker) * (age - 58)
        + 0.5 * smoker
        + 0.02 * (pressure - 125)
        + 0.45 * (sugar - 5.7)
        + 1.8 * np.maximum(kidneys - 1.1, 0)
        + 0.3 * (fat - 3.1)
        - 0.25 * female
        + 0.4 * shifted
    )
    # A visit for a reason goes with a higher risk and with more measurements.
    reason = random.random(len(patient)) < expit(score[patient] + 2.2)
    risk = expit(score[patient] + 0.9 * reason - 0.35)
    columns = {
        "patient": [f"P{number:05d}" for number in patient],
        "site": site[patient],
        "visit_date": (FIRST_DAY + day).astype(str),
        "first_visit": (FIRST_DAY + first[patient]).astype(str),
        "age": np.floor(age[patient] + (day - first[patient]) / 365.25),
        "sex": np.where(female[patient], "female", "male"),
        "smoker": np.where(smoker[patient], "yes", "no"),
        "diagnosis": np.array(DIAGNOSES)[diagnosis[patient]],
        "bmi": measure(mass, 0.5, 1),
        "systolic_pressure": measure(pressure, 9, 0),
        "creatinine": np.round(
            measure(kidneys, 0.06, 3).clip(0.3) * 88.4 * np.where(shifted[patient], 1.1, 1.0)
        ),
        "hba1c": measure(sugar, 0.15, 1),
        "ldl": measure(fat, 0.2, 1).clip(0.3),
    }
    order_rate = np.where(reason, 0.92, 0.45)
    for name, rate in LAB_RATES.items():
        missing = random.random(len(patient)) > order_rate * rate
        columns[name] = np.where(missing, np.nan, columns[name])
    outcome = random.random(len(patient)) < risk
    columns["outcome"] = np.where(outcome, "yes", "no")
    return Cohort(pd.DataFrame(columns), risk)


def _draw_diagnoses(age: np.ndarray, weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw positions (patients,) in ``DIAGNOSES``."""
    pressure = random.random(len(age)) < expit(0.05 * (age - 62) + 0.5 * weight)
    sugar = random.random(len(age)) < expit(0.03 * (age - 90) + 0.6 * weight - 0.6)
    return pressure + 2 * sugar


def _draw_visit_days(visits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw days (visits,) since each patient's first visit.

    Args:
        visits: (patients,) number of visits.
        random: generator to draw from.
    """
    gaps = random.integers(30, 300, visits.sum())
    starts = np.cumsum(visits) - visits
    gaps[starts] = 0
    total = np.cumsum(gaps)
    return total - np.repeat(total[starts], visits)
