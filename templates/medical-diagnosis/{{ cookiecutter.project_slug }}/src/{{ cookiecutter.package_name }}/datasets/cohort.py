"""A generated cohort: patients with several visits at some hospitals, and each visit's true risk.

Nothing here is real. A patient has lasting traits, and visits at which some of them are measured
with noise. Laboratory values are ordered when a doctor sees a reason to, so that one which is
missing says something. One hospital has older and sicker patients, and an analyser that reads high.
Whether the outcome happens within a year of a visit is drawn from the true risk.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

PATIENTS = 2_500
MOST_VISITS = 6
SITES = {"north": 0.3, "east": 0.25, "south": 0.2, "west": 0.15, "harbour": 0.1}
SHIFTED = "harbour"
DIAGNOSES = ("none", "hypertension", "diabetes", "both")
FIRST_DAY = np.datetime64("2018-01-01")
DAYS = 5 * 365
MEASURED = {"creatinine": 1.0, "hba1c": 0.9, "ldl": 0.8}  # share of visits with laboratory values
COLUMNS = {
    "patient": {"kind": "patient"},
    "site": {"kind": "site"},
    "visit_date": {"kind": "time"},
    "first_visit": {"kind": "date"},
    "age": {"kind": "number", "unit": "years", "least": 0, "most": 120, "bands": (45, 60, 75)},
    "sex": {"kind": "category", "values": ("female", "male"), "subgroup": True},
    "smoker": {"kind": "boolean", "yes": "yes", "no": "no"},
    "diagnosis": {"kind": "category", "values": DIAGNOSES},
    "bmi": {"kind": "number", "unit": "kg/m²", "least": 8, "most": 100},
    "systolic_pressure": {"kind": "number", "unit": "mmHg", "least": 40, "most": 300},
    "creatinine": {"kind": "number", "unit": "µmol/l", "least": 15, "most": 1500},
    "hba1c": {"kind": "number", "unit": "%", "least": 2.5, "most": 20},
    "ldl": {"kind": "number", "unit": "mmol/l", "least": 0.1, "most": 15},
    "outcome": {"kind": "outcome", "yes": "yes", "no": "no"},
}


@dataclass(frozen=True)
class Cohort:
    """Visits in the order of patients and time.

    Attributes:
        frame: a row for each visit, with the columns of ``COLUMNS``.
        risk: (visits,) the true probability of the outcome.
    """

    frame: pd.DataFrame
    risk: np.ndarray


def generate(patients: int = PATIENTS, seed: int = 0) -> Cohort:
    """The same cohort for the same seed."""
    random = np.random.default_rng(seed)
    visits = 1 + random.binomial(MOST_VISITS - 1, 0.35, patients)
    who = np.repeat(np.arange(patients), visits)
    site = random.choice(list(SITES), patients, p=list(SITES.values()))
    shifted = site == SHIFTED
    age = random.normal(58, 13, patients).clip(19, 94) + 4 * shifted
    female = random.random(patients) < 0.52
    smoker = random.random(patients) < np.where(female, 0.18, 0.27)
    weight = random.normal(0, 1, patients)  # what lies behind several measurements
    diagnosis = _diagnosis(age, weight, random)
    first = random.integers(0, DAYS - 400, patients)
    day = first[who] + _since_first(visits, random)

    def measure(base: np.ndarray, spread: float, digits: int) -> np.ndarray:
        return np.round(base[who] + random.normal(0, spread, len(who)), digits)

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
    # A visit for a reason is a bad sign, and then more is measured.
    reason = random.random(len(who)) < _logistic(score[who] + 2.2)
    risk = _logistic(score[who] + 0.9 * reason - 0.35)
    columns = {
        "patient": [f"P{number:05d}" for number in who],
        "site": site[who],
        "visit_date": (FIRST_DAY + day).astype(str),
        "first_visit": (FIRST_DAY + first[who]).astype(str),
        "age": np.floor(age[who] + (day - first[who]) / 365.25),
        "sex": np.where(female[who], "female", "male"),
        "smoker": np.where(smoker[who], "yes", "no"),
        "diagnosis": np.array(DIAGNOSES)[diagnosis[who]],
        "bmi": measure(mass, 0.5, 1),
        "systolic_pressure": measure(pressure, 9, 0),
        "creatinine": np.round(
            measure(kidneys, 0.06, 3).clip(0.3) * 88.4 * np.where(shifted[who], 1.1, 1.0)
        ),
        "hba1c": measure(sugar, 0.15, 1),
        "ldl": measure(fat, 0.2, 1).clip(0.3),
    }
    ordered = np.where(reason, 0.92, 0.45)
    for name, share in MEASURED.items():
        missing = random.random(len(who)) > ordered * share
        columns[name] = np.where(missing, np.nan, columns[name])
    outcome = random.random(len(who)) < risk
    columns["outcome"] = np.where(outcome, "yes", "no")
    return Cohort(pd.DataFrame(columns), risk)


def _logistic(score: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-score))


def _diagnosis(age: np.ndarray, weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    pressure = random.random(len(age)) < _logistic(0.05 * (age - 62) + 0.5 * weight)
    sugar = random.random(len(age)) < _logistic(0.03 * (age - 90) + 0.6 * weight - 0.6)
    return pressure + 2 * sugar


def _since_first(visits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Days since each patient's first visit, for all their visits in order."""
    gaps = random.integers(30, 300, visits.sum())
    starts = np.cumsum(visits) - visits
    gaps[starts] = 0
    total = np.cumsum(gaps)
    return total - np.repeat(total[starts], visits)
