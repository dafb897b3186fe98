"""The de-identification guard: columns that look as if they told who a patient is.

A name, a phone number or a record number has no place in a model or a split. The guard looks at the
names of columns and at what they hold. It is a safety net, not a proof that a table is anonymous.
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
# Reason -> words that follow each other in the name of a column, as `words_of` gives them: English,
# then other languages that clinics keep tables in.
NAMED = {
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
# The same for a whole name: as a part of one (insurance type) the word says nothing.
NAMED_ENTIRELY = {
    PERSON: "name|last|contact|gp|nom|nombre|nome|naam|имя",
    PHONE: "tel|cell",
    RECORD: "nhs|insurance|licence|license|account|chart",
}
TRIED = 10_000  # cells of a column whose form is looked at, drawn from all rows
# Shares of the cells that are not empty.
UNMISTAKABLE = 0.1  # of mail and internet addresses, whose form nothing else has
MOSTLY = 0.5  # of phone numbers and of texts with letters and digits
NEARLY_ALL = 0.95  # of dates and whole numbers; and of different values among record numbers
DIFFERENT = 0.5  # of different values in free text
WORDS = 4  # in the mean, from which texts are free
DIGITS = 6  # of the median whole number, from which it may be a record's
ROUND = 0.5  # share that ends with 0, from which whole numbers are measured: 251000 platelets
BIRTH_YEARS = 40  # spread of a date's years, without the outer twentieths; visits spread less
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


def check(
    cells: dict[str, np.ndarray], allowed: set[str], people: np.ndarray | None = None
) -> None:
    """Refuse columns that look as if they told who a patient is.

    Args:
        cells: column -> (size,) cells as text, '' where missing; of columns that are used.
        allowed: columns that a person has looked at.
        people: (size,) patients as text, where they are known.

    Raises:
        DataProblem: for the first such column.
    """
    for name, reason in identifying(cells, people).items():
        if name not in allowed:
            raise DataProblem(
                f"column {name!r}: it looks like {reason}. Leave it out (kind: ignored), or allow "
                f"it by name: --data.allow {name}."
            )


def identifying(cells: dict[str, np.ndarray], people: np.ndarray | None = None) -> dict[str, str]:
    """Columns -> the reason why each looks as if it told who a patient is.

    Args:
        cells: column -> (size,) cells as text, '' where missing.
        people: (size,) patients as text: what stands in several rows of one counts once.
    """

    def once(values: np.ndarray) -> np.ndarray:
        if people is None:
            return values
        pairs = pd.DataFrame({"who": people, "value": values}, dtype=object)
        return pairs.drop_duplicates()["value"].to_numpy()

    reasons = {name: by_name(name) or _by_content(once(values)) for name, values in cells.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def words_of(name: str) -> list[str]:
    """The words of a column's name, small, without accents: ``dateOfBirth``, ``DATE_OF_BIRTH``."""
    letters = (c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFC", "".join(letters))
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return [word for word in re.split(r"[\W\d_]+", apart.casefold()) if word]


def by_name(name: str) -> str:
    """What the name of a column says it holds; '' for nothing of a person."""
    words = " ".join(words_of(name))
    for reason, phrases in NAMED_ENTIRELY.items():
        if words in phrases.split("|"):
            return reason
    for reason, phrases in NAMED.items():
        if any(f" {phrase} " in f" {words} " for phrase in phrases.split("|")):
            return reason
    return ""


def _by_content(cells: np.ndarray) -> str:
    """What the cells (size,) of a column look like; '' for nothing of a person."""
    there = pd.Series(cells[cells != ""], dtype=object)
    if there.empty:
        return ""
    some = there.sample(TRIED, random_state=0) if len(there) > TRIED else there
    if _share(some, MAIL_FORM) >= UNMISTAKABLE:
        return MAIL
    if _share(some, NETWORK_FORM) >= UNMISTAKABLE:
        return NETWORK
    if _share(some, DATE_FORM) >= NEARLY_ALL:
        return BIRTH if len(there) >= MIN_ROWS and _spread(some) >= BIRTH_YEARS else ""
    if _share(some[~some.str.fullmatch(DATE_FORM)], PHONE_FORM) >= MOSTLY:
        return PHONE
    if len(there) < MIN_ROWS:
        return ""
    different = there.nunique() / len(there)
    if _numbers_records(some, different):
        return RECORD
    words = some.str.count(r"\S+").mean()
    return FREE_TEXT if words >= WORDS and different >= DIFFERENT else ""


def _share(texts: pd.Series, form: str) -> float:
    return float(texts.str.fullmatch(form).mean()) if len(texts) else 0.0


def _spread(dates: pd.Series) -> float:
    """Years between the first and the last of dates (size,), without the outer twentieths."""
    found = dates.str.extract(f"^(?:{DATE_FORM})$").bfill(axis=1).iloc[:, 0].dropna().astype(int)
    return float(found.quantile(0.95) - found.quantile(0.05))


def _numbers_records(texts: pd.Series, different: float) -> bool:
    """Whether nearly no text (size,) comes twice, and they are long whole numbers, or made of
    letters and digits without being measured.

    Args:
        different: share of different ones among all, of which these may be some.
    """
    if different < NEARLY_ALL:
        return False
    whole = texts[texts.str.fullmatch(r"\d+")]
    if len(whole) >= NEARLY_ALL * len(texts):
        measured = whole.str.endswith("0").mean() > ROUND
        return different == 1 and whole.str.len().median() >= DIGITS and not measured
    mixed = texts.str.contains(r"\d") & texts.str.contains("[A-Za-z]") & ~texts.str.contains(r"\s")
    mixed &= ~texts.str.fullmatch(MEASURE_FORM) & ~texts.str.fullmatch(DATE_FORM)
    mixed &= pd.to_numeric(texts, errors="coerce").isna()  # 1e-5
    return bool(mixed.mean() >= MOSTLY)
