"""Find columns that may identify a patient, such as names, phone numbers and record numbers.

The check looks at the names of columns and at the form of their cells. It is a safety net, not a
proof that a table is anonymous.
"""

import re
import unicodedata

import numpy as np
import pandas as pd

from ..engine.errors import DataProblem
from ..engine.findings import MIN_ROWS

PERSON, BIRTH = "a person's name", "a date of birth"
MAIL, PHONE = "an e-mail address", "a phone number"
ADDRESS, NETWORK = "an address", "an internet address"
RECORD, FREE_TEXT = "a record number", "free text"
# Reason -> phrases in the name of a column, in the form of ``split_words``: English first, then
# other languages in which clinics keep tables.
NAME_PHRASES = {
    PERSON: "first name|last name|full name|middle name|maiden name|family name|given name|"
    "patient name|firstname|lastname|fullname|surname|forename|fname|lname|pt name|pat name|"
    "next of kin|"
    "vorname|nachname|familienname|geburtsname|patientenname|prenom|nom de famille|nom patient|"
    "apellido|apellidos|cognome|sobrenome|voornaam|achternaam|фамилия|отчество|姓名|患者姓名|氏名|患者名|"
    "患者氏名|성명|이름|환자명",
    BIRTH: "date of birth|birth date|date birth|birthdate|birthday|dob|d o b|born|birth dt|geb|"
    "geburtsdatum|geburtstag|date de naissance|date naissance|ddn|fecha de nacimiento|"
    "fecha nacimiento|data di nascita|data nascita|data de nascimento|data nascimento|"
    "geboortedatum|дата рождения|出生日期|出生年月日|生日|生年月日|생년월일",
    MAIL: "e mail|email|mail|courriel|correo|emailadresse|邮箱|メール|이메일",
    PHONE: "phone|telephone|cellphone|mobile|fax|"
    "telefon|telefonnummer|handy|handynummer|mobilnummer|telefono|movil|celular|telefone|"
    "telefoon|телефон|电话|電話|手机|手机号|电话号码|電話番号|전화|전화번호",
    NETWORK: "ip|url|web address|website",
    ADDRESS: "address|street|postcode|post code|postal code|zip|zipcode|"
    "adresse|anschrift|strasse|hausnummer|plz|postleitzahl|wohnort|code postal|direccion|calle|"
    "codigo postal|domicilio|indirizzo|endereco|adres|straat|адрес|地址|住址|住所|郵便番号|주소",
    "a social security number": "ssn|social security|"
    "sozialversicherungsnummer|securite sociale|seguridad social|codice fiscale|dni|cpf|bsn|"
    "снилс|身份证|身份证号|身份证号码|주민등록번호",
    RECORD: "mrn|medical record|record number|record no|hospital number|hospital no|nhs number|"
    "nhs no|chart number|chart no|case number|case no|accession|"
    "insurance number|insurance no|insurance id|policy number|passport|licence number|"
    "license number|account number|account no|"
    "versichertennummer|krankenversicherungsnummer|aktenzeichen|numero de dossier|"
    "historia clinica|cartella clinica|病历号|住院号|カルテ番号|등록번호",
}
# Reason -> words that identify only as the whole name: "insurance", but not "insurance type".
WHOLE_NAMES = {
    PERSON: "name|last|contact|gp|nom|nombre|nome|naam|имя",
    PHONE: "tel|cell",
    RECORD: "nhs|insurance|licence|license|account|chart",
}
SAMPLE_CELLS = 10_000  # cells of a column that are examined, sampled from all rows
# Shares of the cells that are not empty.
MIN_ADDRESS_SHARE = 0.1  # e-mail and internet addresses have a form that nothing else has
MIN_FORM_SHARE = 0.5  # phone numbers, and codes of letters and digits
NEARLY_ALL = 0.95  # dates and whole numbers; unique values among record numbers
MIN_UNIQUE_SHARE = 0.5  # unique values in free text
MIN_MEAN_WORDS = 4  # words a cell of free text
MIN_MEDIAN_DIGITS = 6  # digits of a record number
MAX_ROUND_SHARE = 0.5  # more whole numbers that end in 0 are measurements: 251000 platelets
MIN_BIRTH_YEARS = 40  # years between the 5th and 95th percentile of dates; visits span fewer
MAIL_FORM = r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"
NETWORK_FORM = r"(?:https?://|www\.)\S+|(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"
# +49 30 123456, 0176/1234567, (030) 1234567 or 555-123-4567.
PHONE_FORM = r"(?:\+|0|\()[\d ()/-]{6,18}\d|(?:1[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}"
DATE_FORM = (
    r"(?P<a>\d{4})[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?"
    r"|(?P<d>(?:19|20)\d{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|\d{1,2}[-/. ]\d{1,2}[-/. ](?P<b>\d{4})(?: .*)?"
    r"|\d{1,2}[- .]*[A-Za-z]{3,9}[- .,]*(?P<c>\d{4}).*"
)
MEASURE_FORM = r"[<>=≤≥~ ]*\d{0,5}(?:[.,]\d+)?\s*[^\d\s][^\d]*\d?"  # 12.5 mg, <5, 22 kg/m2


def check_identifiers(
    cells: dict[str, np.ndarray], allow: set[str], patients: np.ndarray | None = None
) -> None:
    """Refuse a table with columns that may identify a patient.

    Args:
        cells: column -> (size,) cells as text, '' where missing; only columns that are used.
        allow: columns that the user has reviewed and allows.
        patients: (size,) patients as text; None if unknown.

    Raises:
        DataProblem: a column that is not allowed may identify a patient.
    """
    for name, reason in find_identifiers(cells, patients).items():
        if name not in allow:
            raise DataProblem(
                f"column {name!r}: it looks like {reason}. Leave it out (kind: ignored), or allow "
                f"it by name: --data.allow {name}."
            )


def find_identifiers(
    cells: dict[str, np.ndarray], patients: np.ndarray | None = None
) -> dict[str, str]:
    """Return the columns that may identify a patient, each with the reason.

    Args:
        cells: column -> (size,) cells as text, '' where missing.
        patients: (size,) patients as text; a value that a patient has in several rows counts once.
    """

    def drop_repeats(values: np.ndarray) -> np.ndarray:
        if patients is None:
            return values
        pairs = pd.DataFrame({"patient": patients, "value": values}, dtype=object)
        return pairs.drop_duplicates()["value"].to_numpy()

    reasons = {
        name: _match_name(name) or _match_cells(drop_repeats(values))
        for name, values in cells.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def split_words(name: str) -> list[str]:
    """Split a column's name into lower-case words without accents.

    ``dateOfBirth`` and ``DATE_OF_BIRTH`` both give ``["date", "of", "birth"]``.
    """
    letters = (c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFC", "".join(letters))
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return [word for word in re.split(r"[\W\d_]+", spaced.casefold()) if word]


def _match_name(name: str) -> str:
    """Return what the name of a column suggests, such as "a phone number"; '' if harmless."""
    words = " ".join(split_words(name))
    for reason, phrases in WHOLE_NAMES.items():
        if words in phrases.split("|"):
            return reason
    for reason, phrases in NAME_PHRASES.items():
        if any(f" {phrase} " in f" {words} " for phrase in phrases.split("|")):
            return reason
    return ""


def _match_cells(cells: np.ndarray) -> str:
    """Return what the cells (size,) of a column look like; '' if harmless."""
    present = pd.Series(cells[cells != ""], dtype=object)
    if present.empty:
        return ""
    sample = present
    if len(present) > SAMPLE_CELLS:
        sample = present.sample(SAMPLE_CELLS, random_state=0)
    if _match_share(sample, MAIL_FORM) >= MIN_ADDRESS_SHARE:
        return MAIL
    if _match_share(sample, NETWORK_FORM) >= MIN_ADDRESS_SHARE:
        return NETWORK
    if _match_share(sample, DATE_FORM) >= NEARLY_ALL:
        is_birth = len(present) >= MIN_ROWS and _year_range(sample) >= MIN_BIRTH_YEARS
        return BIRTH if is_birth else ""
    if _match_share(sample[~sample.str.fullmatch(DATE_FORM)], PHONE_FORM) >= MIN_FORM_SHARE:
        return PHONE
    if len(present) < MIN_ROWS:
        return ""
    unique_share = present.nunique() / len(present)
    if _is_record_number(sample, unique_share):
        return RECORD
    mean_words = sample.str.count(r"\S+").mean()
    is_free_text = mean_words >= MIN_MEAN_WORDS and unique_share >= MIN_UNIQUE_SHARE
    return FREE_TEXT if is_free_text else ""


def _match_share(texts: pd.Series, form: str) -> float:
    return float(texts.str.fullmatch(form).mean()) if len(texts) else 0.0


def _year_range(dates: pd.Series) -> float:
    """Return the years between the 5th and the 95th percentile of dates (size,)."""
    years = dates.str.extract(f"^(?:{DATE_FORM})$").bfill(axis=1).iloc[:, 0].dropna().astype(int)
    return float(years.quantile(0.95) - years.quantile(0.05))


def _is_record_number(texts: pd.Series, unique_share: float) -> bool:
    """Return whether nearly unique texts (size,) are long whole numbers or alphanumeric codes.

    Args:
        texts: cells, or a sample of them.
        unique_share: share of unique values among all cells.
    """
    if unique_share < NEARLY_ALL:
        return False
    whole = texts[texts.str.fullmatch(r"\d+")]
    if len(whole) >= NEARLY_ALL * len(texts):
        is_measurement = whole.str.endswith("0").mean() > MAX_ROUND_SHARE
        is_long = whole.str.len().median() >= MIN_MEDIAN_DIGITS
        return bool(unique_share == 1 and is_long and not is_measurement)
    codes = texts.str.contains(r"\d") & texts.str.contains("[A-Za-z]") & ~texts.str.contains(r"\s")
    codes &= ~texts.str.fullmatch(MEASURE_FORM) & ~texts.str.fullmatch(DATE_FORM)
    codes &= pd.to_numeric(texts, errors="coerce").isna()  # 1e-5 is a number
    return bool(codes.mean() >= MIN_FORM_SHARE)
