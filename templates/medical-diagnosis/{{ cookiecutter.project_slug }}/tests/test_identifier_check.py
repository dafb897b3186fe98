"""Columns that may identify a patient are found; measurements are left alone."""

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.datasets.identifier_check import (
    check_identifiers,
    find_identifiers,
)
from {{ cookiecutter.package_name }}.engine.errors import DataProblem

ROWS = 60
CHANCE = np.random.default_rng(0)
MIDDLE = range(ROWS)


def texts(values: object) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("name first_name LastName patientFullName surname fname PatName", "a person's name"),
        ("dob DateOfBirth birth_date birthday d_o_b born birth_dt geb_datum", "a date of birth"),
        ("email e-mail contactEmail", "an e-mail address"),
        ("phone mobile_phone FAX tel", "a phone number"),
        ("address homeAddress street zip ZipCode postcode", "an address"),
        ("ip IPAddress url", "an internet address"),
        ("ssn SocialSecurityNo", "a social security number"),
        ("MRN medical_record_number nhs_number insurance_id passport", "a record number"),
        ("chart_no case_number hospital_no accession", "a record number"),
        ("Nachname Prénom apellidos Nome 姓名 患者氏名 성명", "a person's name"),
        ("Geburtsdatum date_de_naissance FechaNacimiento 生年月日", "a date of birth"),
        ("Telefonnummer téléphone móvil 手机号 전화번호", "a phone number"),
        ("Straße PLZ dirección code_postal 住所 адрес", "an address"),
        (
            "named ship zipper contact_allergy cell_type chart_color lasting telomere drug_name "
            "insurance_type birth_weight membership emails "
            "mobility telephonist ipsilateral recipe urlich relationship addressed account_age "
            "nombre_de_globules Handgelenk nominal rueckfall mailand",
            "",
        ),
    ],
)
def test_names(names: str, reason: str) -> None:
    found = find_identifiers({name: texts(["a", "b"]) for name in names.split()})
    assert found == (dict.fromkeys(names.split(), reason) if reason else {})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([f"a{i}@example.org" for i in MIDDLE], "an e-mail address"),
        (["none"] * 53 + ["a@example.org"] * 7, "an e-mail address"),
        ([f"+49 30 {1234567 + i}" for i in MIDDLE], "a phone number"),
        ([f"0176/{1234567 + i}" for i in MIDDLE], "a phone number"),
        ([f"(555) 123-{1000 + i}" for i in MIDDLE], "a phone number"),
        ([f"https://example.org/{i}" for i in MIDDLE], "an internet address"),
        ([f"10.0.0.{i}" for i in MIDDLE], "an internet address"),
        ([f"AB{i * 7919:06}" for i in MIDDLE], "a record number"),
        (CHANCE.integers(10**7, 10**8, ROWS), "a record number"),
        ([f"{1930 + i}-05-17" for i in MIDDLE], "a date of birth"),
        ([f"17.05.{1930 + i}" for i in MIDDLE], "a date of birth"),
        ([f"{1930 + i}0517" for i in MIDDLE], "a date of birth"),
        ([f"was seen on day {i}" for i in MIDDLE], "free text"),
    ],
)
def test_contents(values: object, reason: str) -> None:
    column = np.append(texts(values), ["", ""])
    assert find_identifiers({"x": column}) == {"x": reason}


@pytest.mark.parametrize(
    "values",
    [
        CHANCE.normal(5, 1, ROWS),
        -CHANCE.random(ROWS) * 1e7,
        [f"{value:.3e}" for value in CHANCE.normal(1e-5, 1e-6, ROWS)],
        [250_000 + 1000 * i for i in MIDDLE],  # platelets
        range(1, ROWS + 1),
        [1940 + i for i in MIDDLE],
        [f"20{10 + i % 15}-03-{10 + i % 20} 10:{10 + i % 50}:00" for i in MIDDLE],
        [f"20{10 + i % 15}03{10 + i % 20}" for i in MIDDLE],
        [f"{10 + i % 20}.03.20{10 + i % 15}" for i in MIDDLE],
        [f"{10 + i % 20}-Mar-20{10 + i % 15}" for i in MIDDLE],
        [f"{100 + i}/{60 + i}" for i in MIDDLE],  # blood pressures
        [f"{i / 7:.3f}mg" for i in MIDDLE],
        [f"<{i}.5" for i in MIDDLE],
        [f"E1{i % 9}.{i % 3}" for i in MIDDLE],  # codes of diagnoses
        ["tumour of the upper lobe", "tumour of the lower lobe"] * 30,
        [f"AB{i * 7919:06}" for i in range(19)],  # too few to say
        [""] * ROWS,
    ],
)
def test_what_measures_or_classifies_is_left_alone(values: object) -> None:
    assert find_identifiers({"x": texts(values)}) == {}


def test_it_refuses_unless_allowed() -> None:
    cells = {"age": texts(MIDDLE), "mrn": texts(MIDDLE), "phone": texts(MIDDLE)}
    with pytest.raises(DataProblem) as caught:
        check_identifiers(cells, allow={"phone"})
    assert str(caught.value) == (
        "column 'mrn': it looks like a record number. Leave it out (kind: ignored), or allow it by "
        "name: --data.allow mrn."
    )
    check_identifiers(cells, allow={"phone", "mrn"})
