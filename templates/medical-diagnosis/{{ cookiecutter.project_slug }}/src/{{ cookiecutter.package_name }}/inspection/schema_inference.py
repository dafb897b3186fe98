"""What each column of a clinical table probably holds, by its name and its cells.

A guess is written into a schema for a person to correct. Where it may be wrong it is on the safe
side: a column that may tell who a patient is, or the outcome, is ignored.
"""

import re

import numpy as np
import pandas as pd

from ..datasets.identifier_check import DATE_FORM, NEARLY_ALL, identifying, words_of
from ..datasets.schema import Column, as_days
from ..datasets.splits import is_split_column
from ..engine.errors import DataProblem
from ..engine.findings import MIN_ROWS, Findings

OUTCOMES = (
    *("outcome", "diagnosis", "target", "label", "event", "death", "died", "dead", "deceased"),
    *("mortality", "readmitted", "readmission", "disease", "relapse", "recurrence", "class", "y"),
)
ONLY_ENTIRE = {"class", "y"}  # a drug class is no outcome
EARLIER = {"history", "prior", "previous", "family", "date", "time", "age", "year"}
PATIENTS = ("patient", "subject", "participant", "person", "individual", "pid", "mrn")
PATIENTS_WITH_ID = ("case", "study", "record", "medical record", "")
SITES = ("site", "hospital", "centre", "center", "clinic", "institution", "facility")
TIMES = (
    *("visit", "admission", "admitted", "admit", "encounter", "index", "baseline", "enrolment"),
    *("enrollment", "examination", "exam", "presentation", "screening"),
)
ANY_TIME = {"date", "time", "timestamp", "datetime", "day"}
SPLITS = {"split", "fold", "set", "partition", "subset", "data split"}
ID_WORDS = {"id", "no", "nr", "number", "code", "key", "uid", "uuid", "guid", "identifier", "hash"}
IDENTIFIERS = {"id", "uid", "uuid", "guid", "identifier", "hash"}
SUBGROUPS = {"sex", "gender", "ethnicity", "ethnic", "race"}
YES_NO = {
    **{"yes": "no", "y": "n", "true": "false", "t": "f", "1": "0", "1.0": "0.0", "+": "-"},
    **{"ja": "nein", "j": "n", "positive": "negative", "pos": "neg", "present": "absent"},
}
OUTCOME_YES = {
    *("yes", "y", "true", "t", "1", "1.0", "positive", "pos", "+", "present", "ja", "j", "m"),
    *("malignant", "died", "dead", "deceased", "death", "expired", "case", "event", "abnormal"),
    *("readmitted", "disease", "diseased", "sick", "relapse", "recurrence"),
}
OUTCOME_NO = {
    *("no", "n", "false", "f", "0", "0.0", "negative", "neg", "-", "absent", "nein", "b", "none"),
    *("benign", "alive", "survived", "control", "normal", "healthy"),
}
UNKNOWN = {"na", "n/a", "nan", "null", "none", "nil", "missing", "unknown", "?", "-", ".", "#n/a"}
# Numbers that a model cannot take as they are: 3,5 or <5 or 1,200.
ODD_NUMBER = r"[<>≤≥]\s*=?\s*\d+(?:[.,]\d+)?|[-+]?\d+,\d+|[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
SENTINELS = (
    *(-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999),
    *(77, 88, 99, 777, 888, 999, 9999, 99999, 999999),
)
OFTEN = 3  # rows with the same sentinel
FEW_BELOW = 0.05  # share of numbers below zero up to which they are mistakes
MOST_VALUES = 50  # of a category
SEEN = ("number", "category", "boolean", "date")  # kinds that a model sees
REPEATED = 0.5  # largest share of different values in a category, or of sites
LATER = 0.2  # share of dates after the row's time from which a column is not known in time
MARGIN = 0.25  # of the range that was found, on both sides
BANDS = (40.0, 60.0, 75.0)  # years of age
# Words in the name of a column -> unit and plausible range.
KNOWN = {
    "age": ("years", 0.0, 120.0),
    "bmi": ("kg/m²", 5.0, 100.0),
    "body mass index": ("kg/m²", 5.0, 100.0),
    "temperature": ("°C", 25.0, 45.0),
    "temp": ("°C", 25.0, 45.0),
    "heart rate": ("bpm", 20.0, 300.0),
    "heartrate": ("bpm", 20.0, 300.0),
    "pulse rate": ("bpm", 20.0, 300.0),
    "systolic": ("mmHg", 40.0, 300.0),
    "sbp": ("mmHg", 40.0, 300.0),
    "diastolic": ("mmHg", 20.0, 200.0),
    "dbp": ("mmHg", 20.0, 200.0),
}
# The same of what is measured in several units: with the unit that the name tells. The ranges of
# two units hardly share what is usual in either.
KNOWN_IN = {
    ("glucose", "mg/dl"): (10.0, 1080.0),
    ("glucose", "mmol/l"): (0.5, 60.0),
    ("creatinine", "mg/dl"): (0.05, 30.0),
    ("creatinine", "µmol/l"): (5.0, 2700.0),
    ("cholesterol", "mg/dl"): (20.0, 1200.0),
    ("cholesterol", "mmol/l"): (0.5, 31.0),
    ("hemoglobin", "g/dl"): (1.0, 30.0),
    ("haemoglobin", "g/dl"): (1.0, 30.0),
    ("potassium", "mmol/l"): (1.0, 12.0),
    ("sodium", "mmol/l"): (90.0, 200.0),
    ("weight", "kg"): (0.2, 500.0),
    ("height", "cm"): (20.0, 260.0),
}
OTHER_AGES = {"gestational", "bone", "maternal", "paternal"}
UNITS = {
    **{unit: unit for unit in ("kg", "g", "mg", "cm", "mm", "m", "ml", "bpm", "years", "months")},
    **{"weeks": "weeks", "days": "days", "hours": "hours", "minutes": "minutes", "yrs": "years"},
    **{"mmhg": "mmHg", "percent": "%", "pct": "%", "celsius": "°C", "fahrenheit": "°F"},
    **{"kgm2": "kg/m²"},
}
PER = {"l", "dl", "ml", "ul", "h", "min", "kg", "m2"}
AMOUNTS = {
    **{name: name for name in ("mmol", "nmol", "pmol", "mol", "g", "mg", "ng", "pg", "kg", "ml")},
    **{"umol": "µmol", "ug": "µg", "mcg": "µg", "iu": "IU", "u": "U", "meq": "mEq", "l": "l"},
}


def columns_of(
    cells: dict[str, np.ndarray], allowed: set[str], findings: Findings
) -> dict[str, Column]:
    """A guess for each column.

    Args:
        cells: column -> (size,) cells as text, '' where missing.
        allowed: columns that may be used although they look as if they told who a patient is.
        findings: where warnings go.

    Raises:
        DataProblem: no column looks like the outcome, it has a single value, or no column is left
            that a model could see.
    """
    columns = _singles(cells, findings)
    rest = {name: values for name, values in cells.items() if name not in columns}
    people = next((cells[name] for name, c in columns.items() if c.kind == "patient"), None)
    reasons = {n: why for n, why in identifying(rest, people).items() if n not in allowed}
    times, time = _time(rest, set(reasons))
    if time:
        columns[time] = Column(kind="time")
    for name, values in rest.items():
        if name in reasons:
            findings.warn(
                f"column {name!r} looks like {reasons[name]}; it is ignored. If it does not tell "
                f"who a patient is: --data.allow {name}."
            )
        columns.setdefault(name, Column(kind="ignored"))
        if name != time and name not in reasons:
            columns[name] = _column(name, values, times, findings)
    site = next((n for n, c in columns.items() if c.kind == "site"), "")
    if site and site not in allowed and (why := identifying({site: cells[site]})):
        columns[site] = Column(kind="ignored")
        findings.warn(f"column {site!r} looks like {why[site]}; it is ignored.")
    if not any(column.kind in SEEN for column in columns.values()):
        raise DataProblem(f"PATH: no column is left for a model. {' '.join(findings.warnings)}")
    return {name: columns[name] for name in cells}


def numbers_of(cells: np.ndarray) -> np.ndarray:
    """Cells (size,) as numbers, NaN for what is none."""
    return pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy("float64")


def sentinels(values: np.ndarray) -> dict[int, int]:
    """Numbers such as -9 or 999 that occur often and far outside the others -> how often.

    Args:
        values: (size,) numbers without NaN.
    """
    rest = values[~np.isin(values, SENTINELS)]
    if not len(rest):
        return {}
    low, high = rest.min(), rest.max()
    counts = {code: int((values == code).sum()) for code in SENTINELS}
    return {
        code: count
        for code, count in counts.items()
        if count >= OFTEN and ((code < 0 <= low) or code > 2 * high - min(low, 0))
    }


def unit_of(name: str) -> str:
    """The unit that the name of a column tells; '' for none."""
    if bracketed := re.search(r"[(\[]([^)\]]+)[)\]]\s*$", name):
        return bracketed[1].strip()
    words = re.findall(r"[a-z]+2?", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if len(words) > 2 and words[-2] in AMOUNTS and words[-1] in PER:
        return f"{AMOUNTS[words[-2]]}/{words[-1].replace('m2', 'm²')}"
    if len(words) > 1 and words[-1] in ("c", "f") and words[-2].startswith("temp"):
        return f"°{words[-1].upper()}"
    return UNITS.get(words[-1], "") if len(words) > 1 else ""


def lookup_range(name: str) -> tuple[str, float, float] | None:
    """Unit and plausible range of a well-known column, unless its name tells another unit."""
    words = words_of(name)
    if OTHER_AGES & set(words):
        return None
    unit = unit_of(name)
    for (word, measured_in), (least, most) in KNOWN_IN.items():
        if word == words[0] and unit.lower() == measured_in:
            return unit, least, most
    found = next(
        (f for phrase, f in KNOWN.items() if f" {phrase} " in f" {' '.join(words)} "), None
    )
    return found if found and unit.lower() in ("", found[0].lower()) else None


# === Columns of which there is one ===


def _singles(cells: dict[str, np.ndarray], findings: Findings) -> dict[str, Column]:
    """Split, outcome, patient and site."""
    columns: dict[str, Column] = {}
    splits = [name for name in cells if is_split_column(cells[name])]
    for name in sorted(splits, key=lambda name: " ".join(words_of(name)) not in SPLITS)[:1]:
        columns[name] = Column(kind="split")
    outcome, column = _outcome({n: v for n, v in cells.items() if n not in columns}, findings)
    columns[outcome] = column
    for kind, find in (("patient", _patient), ("site", _site)):
        if name := find({n: v for n, v in cells.items() if n not in columns}):
            columns[name] = Column(kind=kind)
    return columns


def _outcome(cells: dict[str, np.ndarray], findings: Findings) -> tuple[str, Column]:
    named = [n for word in OUTCOMES for n in cells if " ".join(words_of(n)) == word]
    for word in OUTCOMES:
        parts = {n: set(words_of(n)) for n in cells if word not in ONLY_ENTIRE}
        named += [n for n, words in parts.items() if word in words and not words & EARLIER]
    named = list(dict.fromkeys(named))
    fitting = [name for name in named if _count(_drop_unknown(cells[name])) == 2]
    if not fitting:
        single = [name for name in named if _count(_drop_unknown(cells[name])) == 1]
        if single:
            raise DataProblem(
                f"PATH: the outcome, column {single[0]!r}, has a single value; two are needed."
            )
        raise DataProblem(
            "PATH: no column looks like the outcome; it has two values and a name such as "
            f"{', '.join(OUTCOMES[:6])}. Columns: {', '.join(cells)}."
        )
    for name in fitting[1:]:
        findings.warn(
            f"column {name!r} may be an outcome too; if it is not known when a risk is asked for, "
            "its kind is ignored."
        )
    return fitting[0], _yes_and_no(fitting[0], cells[fitting[0]], findings)


def _yes_and_no(name: str, cells: np.ndarray, findings: Findings) -> Column:
    """The outcome: by how its values are written, else the rarer one means yes."""
    values = _different(_drop_unknown(cells))
    rarer = sorted(values, key=lambda value: (values[value], value))
    yes = [v for v in values if v.lower() in OUTCOME_YES]
    no = [v for v in values if v.lower() in OUTCOME_NO]
    numbered = np.isfinite(numbers_of(np.array(list(values), dtype=object))).any()
    if len(yes) == 1 and (no or not numbered):  # of 1 and 2, either may mean yes
        rarer = [yes[0], *(v for v in values if v != yes[0])]
    elif len(no) == 1 and not yes:
        rarer = [*(v for v in values if v != no[0]), no[0]]
    else:
        findings.warn(
            f"outcome {name!r}: that {rarer[0]!r} means yes is guessed, as it is the rarer of the "
            "two; if it does not, exchange yes and no in the schema file."
        )
    return Column(kind="outcome", yes=rarer[0], no=rarer[1])


def _patient(cells: dict[str, np.ndarray]) -> str:
    stems = {}
    for name, values in cells.items():
        words = words_of(name)
        stem = " ".join(word for word in words if word not in ID_WORDS)
        if stem not in (*PATIENTS, *PATIENTS_WITH_ID):
            continue
        numbers = numbers_of(values)
        fractions = np.any(np.isfinite(numbers) & (numbers != np.floor(numbers)))
        bare = stem in PATIENTS_WITH_ID and not IDENTIFIERS & set(words)
        bare &= not (stem and ID_WORDS & set(words))
        different = _count(values)
        told = different > 2 or bool(ID_WORDS & set(words)) or different == 1
        if told and not fractions and not bare:
            stems.setdefault(stem, name)
    return next((stems[stem] for stem in (*PATIENTS, *PATIENTS_WITH_ID) if stem in stems), "")


def _site(cells: dict[str, np.ndarray]) -> str:
    for site in SITES:
        for name, values in cells.items():
            words = [word for word in words_of(name) if word not in ID_WORDS | {"name"}]
            if words == [site] and 2 <= _count(values) <= REPEATED * (values != "").sum():
                return name
    return ""


def _time(cells: dict[str, np.ndarray], excluded: set[str]) -> tuple[np.ndarray | None, str]:
    """Days (size,) of the column that says when a row was recorded, and its name."""
    dates = [name for name in cells if name not in excluded and _is_date(cells[name])]
    found = [name for word in TIMES for name in dates if word in words_of(name)]
    found += [name for name in dates if set(words_of(name)) <= ANY_TIME]
    return (as_days(cells[found[0]]), found[0]) if found else (None, "")


# === Other columns ===


def _column(name: str, cells: np.ndarray, times: np.ndarray | None, findings: Findings) -> Column:
    """A column of which there may be several; warnings say why it is ignored."""
    there = cells[cells != ""]
    told = _drop_unknown(cells)
    different = _count(told)
    reason = _useless(name, told, different)
    if reason:
        findings.warn(f"column {name!r} {reason}; it is ignored.")
        return Column(kind="ignored")
    column = (
        _boolean(name, told) or _as_coded_category(name, there) or _as_number(name, told, findings)
    )
    if column is None:
        column = _as_date(name, cells, told, times, findings)
    if column is None:
        return _category(name, there, findings)
    if len(told) < len(there) and column.kind not in ("ignored", "category"):
        words = tuple(sorted(set(there) - set(told)))
        findings.warn(
            f"column {name!r}: {len(there) - len(told)} cells say {', '.join(map(repr, words))}, "
            "which is taken for missing; correct it in the schema file if it is not."
        )
        return column.model_copy(update={"missing": words})
    return column


def _useless(name: str, told: np.ndarray, different: int) -> str:
    """Why a column tells nothing; '' if it may."""
    if not len(told):
        return "is empty"
    if different == 1:
        return "has a single value"
    last = (words_of(name) or [""])[-1]
    if last in IDENTIFIERS and (different > MOST_VALUES or different > REPEATED * len(told)):
        return "is an identifier"
    numbers = numbers_of(told)
    if len(told) >= MIN_ROWS and np.all(np.diff(numbers) == 1):
        return "numbers the rows"
    return ""


def _boolean(name: str, told: np.ndarray) -> Column | None:
    if _count(told) != 2:
        return None
    by_text = {value.lower(): value for value in _different(told)}
    for yes, no in YES_NO.items():
        if set(by_text) == {yes, no}:
            subgroup = bool(SUBGROUPS & set(words_of(name)))
            return Column(kind="boolean", yes=by_text[yes], no=by_text[no], subgroup=subgroup)
    return None


def _as_coded_category(name: str, there: np.ndarray) -> Column | None:
    """Sex, ethnicity and the like are categories, though they be written as numbers."""
    if SUBGROUPS & set(words_of(name)) and _count(there) <= MOST_VALUES:
        return Column(kind="category", values=tuple(_different(there)), subgroup=True)
    return None


def _as_number(name: str, told: np.ndarray, findings: Findings) -> Column | None:
    """A number; None for what is none."""
    numbers = numbers_of(told)
    plain = np.isfinite(numbers)
    odd = ~plain & pd.Series(told).str.fullmatch(ODD_NUMBER).to_numpy(bool)
    if (plain | odd).mean() < NEARLY_ALL:
        return None
    if not odd.any():
        return _number(name, numbers[plain], findings)
    odd_ones = f"column {name!r}: {odd.sum()} numbers are written with a comma or as '<5'"
    if plain.mean() >= NEARLY_ALL:
        findings.warn(f"{odd_ones}; their rows are left out.")
        return _number(name, numbers[plain], findings)
    values = _different(told)
    if len(values) <= min(MOST_VALUES, REPEATED * len(told)):
        findings.warn(f"{odd_ones}; it is taken for a category.")
        return Column(kind="category", values=tuple(values))
    findings.warn(f"{odd_ones}; it is ignored until they are written as numbers.")
    return Column(kind="ignored")


def _number(name: str, numbers: np.ndarray, findings: Findings) -> Column:
    usual = lookup_range(name)
    if usual:
        unit, least, most = usual
        bands = BANDS if "age" in words_of(name) else ()
        return Column(kind="number", unit=unit, least=least, most=most, bands=bands)
    rest = numbers[~np.isin(numbers, list(sentinels(numbers)))]
    below = int((rest < 0).sum())
    if 0 < below <= FEW_BELOW * len(rest):
        findings.warn(
            f"column {name!r}: {below} numbers are below zero and nearly all others are not; they "
            "are not plausible. Correct its range in the schema file if they are right."
        )
        rest = rest[rest >= 0]
    least, most = _around(float(rest.min()), float(rest.max()))
    return Column(kind="number", unit=unit_of(name), least=least, most=most)


def _around(low: float, high: float) -> tuple[float, float]:
    """A range around another one, between round numbers; without negative ones if there were
    none."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** np.floor(np.log10(span / 10))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= span / 10 * (1 - 1e-9))
    least = np.floor((low - MARGIN * span) / step) * step
    most = np.ceil((high + MARGIN * span) / step) * step
    least = max(least, 0.0) if low >= 0 else least
    return float(f"{least:.9g}"), float(f"{most:.9g}")


def _as_date(
    name: str,
    cells: np.ndarray,
    told: np.ndarray,
    times: np.ndarray | None,
    findings: Findings,
) -> Column | None:
    """A date, ignored where it cannot be days before the row's time; None for what is none."""
    if not _is_date(told):
        if pd.Series(told).str.fullmatch(DATE_FORM).mean() < NEARLY_ALL:
            return None
        reason = "holds dates that are not written as 2024-01-31"
    elif times is None:
        reason = "holds dates, and no column says when a row was recorded (kind time)"
    else:
        before = times - as_days(cells)
        if np.nanmean(before < 0) <= LATER:
            return Column(kind="date")
        reason = "often lies after the row's time, when it is not known yet"
    findings.warn(f"column {name!r} {reason}; it is ignored.")
    return Column(kind="ignored")


def _category(name: str, there: np.ndarray, findings: Findings) -> Column:
    values = _different(there)
    if 2 <= len(values) <= min(MOST_VALUES, max(2, REPEATED * len(there))):
        return Column(kind="category", values=tuple(values))
    findings.warn(
        f"column {name!r} has {len(values)} different values in {len(there)} rows, too many for a "
        "category; it is ignored."
    )
    return Column(kind="ignored")


def _is_date(cells: np.ndarray) -> bool:
    """Whether cells (size,) are dates as a schema reads them; 2024 is a number."""
    there = cells[cells != ""]
    dates = ~np.isnan(as_days(there)) & ~np.isfinite(numbers_of(there))
    return len(there) > 0 and bool(dates.mean() >= NEARLY_ALL)


def _drop_unknown(cells: np.ndarray) -> np.ndarray:
    """The cells that are there and do not say NA or the like, unless one value is left so."""
    there = cells[cells != ""]
    told = there[~np.isin(np.char.lower(there.astype(str)), list(UNKNOWN))]
    return told if _count(told) > 1 else there


def _count(cells: np.ndarray) -> int:
    """How many different values of cells (size,) are there."""
    return pd.Series(cells[cells != ""], dtype=object).nunique()


def _different(cells: np.ndarray) -> dict[str, int]:
    """The values of cells (size,) that are there -> how often, the most frequent first."""
    counts = pd.Series(cells[cells != ""], dtype=object).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {str(value): int(count) for value, count in ordered}
