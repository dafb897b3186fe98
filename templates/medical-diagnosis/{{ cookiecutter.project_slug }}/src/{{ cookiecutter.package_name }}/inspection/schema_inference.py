"""Infer the kind, unit and range of each column of a clinical table from its name and cells.

The result is a proposal for a person to correct. In doubt it is on the safe side: a column that may
identify a patient or leak the outcome is ignored.
"""

import re

import numpy as np
import pandas as pd

from ..datasets.identifier_check import DATE_FORM, NEARLY_ALL, find_identifiers, split_words
from ..datasets.schema import Column, Kind, to_days
from ..datasets.splits import is_split_column
from ..engine.errors import DataProblem
from ..engine.findings import MIN_ROWS, Findings

OUTCOMES = (
    *("outcome", "diagnosis", "target", "label", "event", "death", "died", "dead", "deceased"),
    *("mortality", "readmitted", "readmission", "disease", "relapse", "recurrence", "class", "y"),
)
WHOLE_NAME_OUTCOMES = {"class", "y"}  # "drug class" is no outcome
NOT_OUTCOME_WORDS = {"history", "prior", "previous", "family", "date", "time", "age", "year"}
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
# Numbers that cannot be parsed as they are: 3,5 or <5 or 1,200.
ODD_NUMBER = r"[<>≤≥]\s*=?\s*\d+(?:[.,]\d+)?|[-+]?\d+,\d+|[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
SENTINELS = (
    *(-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999),
    *(77, 88, 99, 777, 888, 999, 9999, 99999, 999999),
)
MIN_SENTINEL_ROWS = 3
MAX_NEGATIVE_SHARE = 0.05  # up to which negative numbers are mistakes
MAX_VALUES = 50  # of a category
INPUT_KINDS: tuple[Kind, ...] = ("number", "category", "boolean", "date")
MAX_UNIQUE_SHARE = 0.5  # unique values among the cells of a category or site
MAX_LATER_SHARE = 0.2  # dates after the row's time, up to which they are mistakes
MARGIN = 0.25  # of the data's range, added to the plausible range on both sides
AGE_BANDS = (40.0, 60.0, 75.0)  # years
# Phrase in the name of a column -> unit and plausible range.
KNOWN_RANGES = {
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
# The same for quantities with several units, by the unit in the column's name. Values in the wrong
# unit are mostly outside the range.
KNOWN_RANGES_BY_UNIT = {
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


def infer_columns(
    cells: dict[str, np.ndarray], allow: set[str], findings: Findings
) -> dict[str, Column]:
    """Infer the rules for each column.

    Args:
        cells: column -> (size,) cells as text, '' where missing.
        allow: columns that are used although they look as if they identify patients.
        findings: receives the warnings.

    Raises:
        DataProblem: no column looks like the outcome, the outcome has a single value, or no column
            is left as an input.
    """
    columns = _infer_unique_kinds(cells, findings)
    rest = {name: values for name, values in cells.items() if name not in columns}
    patients = next((cells[name] for name, c in columns.items() if c.kind == "patient"), None)
    identifiers = {
        name: reason
        for name, reason in find_identifiers(rest, patients).items()
        if name not in allow
    }
    times, time_name = _find_time(rest, set(identifiers))
    if time_name:
        columns[time_name] = Column(kind="time")
    for name, values in rest.items():
        if name in identifiers:
            findings.warn(
                f"column {name!r} looks like {identifiers[name]}; it is ignored. If it does not "
                f"identify patients: --data.allow {name}."
            )
            columns[name] = Column(kind="ignored")
        elif name != time_name:
            columns[name] = _infer_column(name, values, times, findings)
    site = next((name for name, column in columns.items() if column.kind == "site"), "")
    if site and site not in allow and (reasons := find_identifiers({site: cells[site]})):
        columns[site] = Column(kind="ignored")
        findings.warn(f"column {site!r} looks like {reasons[site]}; it is ignored.")
    if not any(column.kind in INPUT_KINDS for column in columns.values()):
        raise DataProblem(
            f"PATH: no column is left as an input of the model. {' '.join(findings.warnings)}"
        )
    return {name: columns[name] for name in cells}


def parse_numbers(cells: np.ndarray) -> np.ndarray:
    """Parse cells (size,) as float64 numbers, NaN for other text."""
    return pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy("float64")


def find_sentinels(values: np.ndarray) -> dict[int, int]:
    """Find codes for missing values, such as -9 or 999, far outside the other numbers.

    Args:
        values: (size,) numbers without NaN.

    Returns:
        Code -> number of rows.
    """
    rest = values[~np.isin(values, SENTINELS)]
    if not len(rest):
        return {}
    low, high = rest.min(), rest.max()
    counts = {code: int((values == code).sum()) for code in SENTINELS}
    return {
        code: count
        for code, count in counts.items()
        if count >= MIN_SENTINEL_ROWS and ((code < 0 <= low) or code > 2 * high - min(low, 0))
    }


def infer_unit(name: str) -> str:
    """Return the unit in the name of a column, such as mmol/l; '' without one."""
    if bracketed := re.search(r"[(\[]([^)\]]+)[)\]]\s*$", name):
        return bracketed[1].strip()
    words = re.findall(r"[a-z]+2?", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if len(words) > 2 and words[-2] in AMOUNTS and words[-1] in PER:
        return f"{AMOUNTS[words[-2]]}/{words[-1].replace('m2', 'm²')}"
    if len(words) > 1 and words[-1] in ("c", "f") and words[-2].startswith("temp"):
        return f"°{words[-1].upper()}"
    return UNITS.get(words[-1], "") if len(words) > 1 else ""


def lookup_range(name: str) -> tuple[str, float, float] | None:
    """Return unit and plausible range of a well-known column; None if its name has another unit."""
    words = split_words(name)
    if OTHER_AGES & set(words):
        return None
    unit = infer_unit(name)
    for (word, known_unit), (low, high) in KNOWN_RANGES_BY_UNIT.items():
        if words[:1] == [word] and unit.lower() == known_unit:
            return unit, low, high
    text = f" {' '.join(words)} "
    known = next((known for phrase, known in KNOWN_RANGES.items() if f" {phrase} " in text), None)
    return known if known and unit.lower() in ("", known[0].lower()) else None


# === Kinds that one column may have ===


def _infer_unique_kinds(cells: dict[str, np.ndarray], findings: Findings) -> dict[str, Column]:
    """Find the columns of kind split, outcome, patient and site."""
    columns: dict[str, Column] = {}
    splits = [name for name in cells if is_split_column(cells[name])]
    for name in sorted(splits, key=lambda name: " ".join(split_words(name)) not in SPLITS)[:1]:
        columns[name] = Column(kind="split")
    outcome, column = _find_outcome({n: v for n, v in cells.items() if n not in columns}, findings)
    columns[outcome] = column
    if patient := _find_patient({n: v for n, v in cells.items() if n not in columns}):
        columns[patient] = Column(kind="patient")
    if site := _find_site({n: v for n, v in cells.items() if n not in columns}):
        columns[site] = Column(kind="site")
    return columns


def _find_outcome(cells: dict[str, np.ndarray], findings: Findings) -> tuple[str, Column]:
    """Return the outcome's column: whole names before parts of names, then in order of OUTCOMES."""
    names = [n for word in OUTCOMES for n in cells if " ".join(split_words(n)) == word]
    for word in OUTCOMES:
        parts = {n: set(split_words(n)) for n in cells if word not in WHOLE_NAME_OUTCOMES}
        names += [
            n for n, words in parts.items() if word in words and not words & NOT_OUTCOME_WORDS
        ]
    num_values = {name: _count_values(_drop_unknown(cells[name])) for name in names}
    candidates = [name for name, count in num_values.items() if count == 2]
    if not candidates:
        constant = [name for name, count in num_values.items() if count == 1]
        if constant:
            raise DataProblem(
                f"PATH: the outcome, column {constant[0]!r}, has a single value; it needs two."
            )
        raise DataProblem(
            "PATH: no column looks like the outcome; it has two values and a name such as "
            f"{', '.join(OUTCOMES[:6])}. Columns: {', '.join(cells)}."
        )
    for name in candidates[1:]:
        findings.warn(
            f"column {name!r} may be an outcome too; if it is not known yet when a risk is "
            "predicted, set kind: ignored."
        )
    return candidates[0], _infer_outcome(candidates[0], cells[candidates[0]], findings)


def _infer_outcome(name: str, cells: np.ndarray, findings: Findings) -> Column:
    """Decide which value means yes: by its text, or else the rarer one."""
    values = _count_by_value(_drop_unknown(cells))
    yes, no = sorted(values, key=lambda value: (values[value], value))
    known_yes = [value for value in values if value.lower() in OUTCOME_YES]
    known_no = [value for value in values if value.lower() in OUTCOME_NO]
    has_number = np.isfinite(parse_numbers(np.array(list(values), dtype=object))).any()
    if len(known_yes) == 1 and (known_no or not has_number):  # of 1 and 2, either may mean yes
        (yes,) = known_yes
        (no,) = set(values) - {yes}
    elif len(known_no) == 1 and not known_yes:
        (no,) = known_no
        (yes,) = set(values) - {no}
    else:
        findings.warn(
            f"outcome {name!r}: {yes!r} is assumed to mean yes, as the rarer of the two values; if "
            "it means no, exchange yes and no in the schema file."
        )
    return Column(kind="outcome", yes=yes, no=no)


def _find_patient(cells: dict[str, np.ndarray]) -> str:
    """Return the patient's column; '' without one."""
    stems: dict[str, str] = {}
    for name, values in cells.items():
        words = split_words(name)
        stem = " ".join(word for word in words if word not in ID_WORDS)
        if stem not in (*PATIENTS, *PATIENTS_WITH_ID):
            continue
        has_id_word = bool(ID_WORDS & set(words))
        if stem in PATIENTS_WITH_ID and not (IDENTIFIERS & set(words) or (stem and has_id_word)):
            continue
        numbers = parse_numbers(values)
        has_fraction = np.any(np.isfinite(numbers) & (numbers != np.floor(numbers)))
        # Two values without a word for an identifier are a flag.
        if not has_fraction and (has_id_word or _count_values(values) not in (0, 2)):
            stems.setdefault(stem, name)
    return next((stems[stem] for stem in (*PATIENTS, *PATIENTS_WITH_ID) if stem in stems), "")


def _find_site(cells: dict[str, np.ndarray]) -> str:
    """Return the site's column; '' without one."""
    for site in SITES:
        for name, values in cells.items():
            words = [word for word in split_words(name) if word not in ID_WORDS | {"name"}]
            max_values = MAX_UNIQUE_SHARE * (values != "").sum()
            if words == [site] and 2 <= _count_values(values) <= max_values:
                return name
    return ""


def _find_time(cells: dict[str, np.ndarray], exclude: set[str]) -> tuple[np.ndarray | None, str]:
    """Return days (size,) and name of the column with the time of each row; None and '' if none."""
    dates = [name for name in cells if name not in exclude and _is_date(cells[name])]
    names = [name for word in TIMES for name in dates if word in split_words(name)]
    names += [name for name in dates if set(split_words(name)) <= ANY_TIME]
    return (to_days(cells[names[0]]), names[0]) if names else (None, "")


# === Other kinds ===


def _infer_column(
    name: str, cells: np.ndarray, times: np.ndarray | None, findings: Findings
) -> Column:
    """Infer a column of a kind that several may have, and warn if it is ignored."""
    present = cells[cells != ""]
    known = _drop_unknown(cells)
    reason = _find_defect(name, known)
    if reason:
        findings.warn(f"column {name!r} {reason}; it is ignored.")
        return Column(kind="ignored")
    column = (
        _infer_boolean(name, known)
        or _infer_subgroup(name, present)
        or _infer_number(name, known, findings)
        or _infer_date(name, cells, known, times, findings)
    )
    if column is None:
        return _infer_category(name, present, findings)
    if len(known) < len(present) and column.kind not in ("ignored", "category"):
        words = tuple(sorted(set(present) - set(known)))
        findings.warn(
            f"column {name!r}: {len(present) - len(known)} cells with "
            f"{', '.join(map(repr, words))} are assumed to be missing; if they are not, correct "
            "missing in the schema file."
        )
        return column.model_copy(update={"missing": words})
    return column


def _find_defect(name: str, known: np.ndarray) -> str:
    """Return why a column carries no information; '' if it may."""
    if not len(known):
        return "is empty"
    num_values = _count_values(known)
    if num_values == 1:
        return "has a single value"
    last_word = (split_words(name) or [""])[-1]
    if last_word in IDENTIFIERS and num_values > min(MAX_VALUES, MAX_UNIQUE_SHARE * len(known)):
        return "is an identifier"
    if len(known) >= MIN_ROWS and np.all(np.diff(parse_numbers(known)) == 1):
        return "numbers the rows"
    return ""


def _infer_boolean(name: str, known: np.ndarray) -> Column | None:
    by_text = {value.lower(): value for value in _count_by_value(known)}
    for yes, no in YES_NO.items():
        if set(by_text) == {yes, no} and _count_values(known) == 2:
            subgroup = bool(SUBGROUPS & set(split_words(name)))
            return Column(kind="boolean", yes=by_text[yes], no=by_text[no], subgroup=subgroup)
    return None


def _infer_subgroup(name: str, present: np.ndarray) -> Column | None:
    """Infer a category for sex, ethnicity and the like, even if the values are numbers."""
    if SUBGROUPS & set(split_words(name)) and _count_values(present) <= MAX_VALUES:
        return Column(kind="category", values=tuple(_count_by_value(present)), subgroup=True)
    return None


def _infer_number(name: str, known: np.ndarray, findings: Findings) -> Column | None:
    """Infer a number, or a category of odd numbers; None for other text."""
    numbers = parse_numbers(known)
    is_plain = np.isfinite(numbers)
    is_odd = ~is_plain & pd.Series(known).str.fullmatch(ODD_NUMBER).to_numpy(bool)
    if (is_plain | is_odd).mean() < NEARLY_ALL:
        return None
    if not is_odd.any():
        return _infer_range(name, numbers[is_plain], findings)
    warning = f"column {name!r}: {is_odd.sum()} numbers are written with a comma or as '<5'"
    if is_plain.mean() >= NEARLY_ALL:
        findings.warn(f"{warning}; their rows are rejected.")
        return _infer_range(name, numbers[is_plain], findings)
    values = _count_by_value(known)
    if len(values) <= min(MAX_VALUES, MAX_UNIQUE_SHARE * len(known)):
        findings.warn(f"{warning}; the column is taken for a category.")
        return Column(kind="category", values=tuple(values))
    findings.warn(f"{warning}; the column is ignored until they are written as plain numbers.")
    return Column(kind="ignored")


def _infer_range(name: str, numbers: np.ndarray, findings: Findings) -> Column:
    if known_range := lookup_range(name):
        unit, low, high = known_range
        bands = AGE_BANDS if "age" in split_words(name) else ()
        return Column(kind="number", unit=unit, min=low, max=high, bands=bands)
    rest = numbers[~np.isin(numbers, list(find_sentinels(numbers)))]
    num_negative = int((rest < 0).sum())
    if 0 < num_negative <= MAX_NEGATIVE_SHARE * len(rest):
        findings.warn(
            f"column {name!r}: {num_negative} numbers are negative, unlike nearly all others, and "
            "count as implausible. If they are right, correct min in the schema file."
        )
        rest = rest[rest >= 0]
    low, high = _widen_range(float(rest.min()), float(rest.max()))
    return Column(kind="number", unit=infer_unit(name), min=low, max=high)


def _widen_range(low: float, high: float) -> tuple[float, float]:
    """Widen a range to round numbers by a margin; one without negative numbers stays so."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** np.floor(np.log10(span / 10))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= span / 10 * (1 - 1e-9))
    wide_low = np.floor((low - MARGIN * span) / step) * step
    wide_high = np.ceil((high + MARGIN * span) / step) * step
    wide_low = max(wide_low, 0.0) if low >= 0 else wide_low
    return float(f"{wide_low:.9g}"), float(f"{wide_high:.9g}")


def _infer_date(
    name: str,
    cells: np.ndarray,
    known: np.ndarray,
    times: np.ndarray | None,
    findings: Findings,
) -> Column | None:
    """Infer a date; ignored if it cannot be days before the row's time, None for other text.

    Args:
        name: of the column.
        cells: (size,) all cells.
        known: (cells,) those that are not missing.
        times: (size,) days of the rows; None without a column of kind time.
        findings: receives the warnings.
    """
    if not _is_date(known):
        if pd.Series(known).str.fullmatch(DATE_FORM).mean() < NEARLY_ALL:
            return None
        reason = "has dates that are not written as 2024-01-31"
    elif times is None:
        reason = "has dates, but no column has the time of each row (kind: time)"
    else:
        if np.nanmean(times - to_days(cells) < 0) <= MAX_LATER_SHARE:
            return Column(kind="date")
        reason = "often lies after the row's time, when it is not known yet"
    findings.warn(f"column {name!r} {reason}; it is ignored.")
    return Column(kind="ignored")


def _infer_category(name: str, present: np.ndarray, findings: Findings) -> Column:
    values = _count_by_value(present)
    if 2 <= len(values) <= min(MAX_VALUES, max(2, MAX_UNIQUE_SHARE * len(present))):
        return Column(kind="category", values=tuple(values))
    findings.warn(
        f"column {name!r} has {len(values)} different values in {len(present)} rows, too many for "
        "a category; it is ignored."
    )
    return Column(kind="ignored")


def _is_date(cells: np.ndarray) -> bool:
    """Return whether nearly all cells (size,) are ISO dates; 2024 is a number."""
    present = cells[cells != ""]
    is_date = ~np.isnan(to_days(present)) & ~np.isfinite(parse_numbers(present))
    return len(present) > 0 and bool(is_date.mean() >= NEARLY_ALL)


def _drop_unknown(cells: np.ndarray) -> np.ndarray:
    """Drop missing cells and, if at least two values are left then, texts such as NA."""
    present = cells[cells != ""]
    known = present[~np.isin(np.char.lower(present.astype(str)), list(UNKNOWN))]
    return known if _count_values(known) > 1 else present


def _count_values(cells: np.ndarray) -> int:
    """Count the distinct values of cells (size,) that are not missing."""
    return pd.Series(cells[cells != ""], dtype=object).nunique()


def _count_by_value(cells: np.ndarray) -> dict[str, int]:
    """Count the cells (size,) of each value, the most frequent value first."""
    counts = pd.Series(cells[cells != ""], dtype=object).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {str(value): int(count) for value, count in ordered}
