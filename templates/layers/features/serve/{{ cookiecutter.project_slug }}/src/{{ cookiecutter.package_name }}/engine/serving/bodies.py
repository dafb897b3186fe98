"""Bodies of requests as rows: JSON, a file or text by itself, and forms."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import orjson
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .problems import Refused, load_json
from .row_checks import list_types

Row = dict[str, Any]
JSON, FORM = "application/json", "multipart/form-data"
MAX_PARTS = 1_000  # of a form
MISSING = object()


class _Parser(MultiPartParser):
    """A parser of forms that writes nothing to disk: the whole body is in memory already."""

    spool_max_size = 2**62


async def read_rows(
    headers: Headers, body: bytes, schema: Mapping[str, Any]
) -> tuple[list[Any], bool]:
    """Read the rows of a request.

    Args:
        headers: of the request.
        body: all of it.
        schema: of a row.

    Returns:
        The rows, and whether an array was sent, to which an array is the answer.

    Raises:
        Refused: the content type is not one of these, or the body does not have it.
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    content_type = kind.decode("latin-1").lower()
    if content_type == JSON:
        return _read_json(body)
    if content_type == FORM:
        return [await _read_form(headers, body, schema)], False
    for name, field in schema["properties"].items():
        media_type = field.get("contentMediaType")
        if media_type and fnmatchcase(content_type, media_type):
            return [{name: _read_raw(body, field, options)}], False
    allowed = ", ".join(list_content_types(schema))
    raise Refused(415, f"The Content-Type must be one of {allowed}.")


def list_content_types(schema: Mapping[str, Any]) -> list[str]:
    """Return the content types that ``read_rows`` reads."""
    own = [field.get("contentMediaType") for field in schema["properties"].values()]
    return [JSON, FORM, *dict.fromkeys(filter(None, own))]


def _read_json(body: bytes) -> tuple[list[Any], bool]:
    content = load_json(body)
    if isinstance(content, dict):
        return [content], False
    if isinstance(content, list) and content:
        return content, True
    raise Refused(422, "The body must be an object, or an array of at least one.")


def _read_raw(body: bytes, field: Mapping[str, Any], options: Mapping[bytes, bytes]) -> Any:
    if field.get("contentEncoding") == "base64":
        return body
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in ("utf-8", "us-ascii"):
        raise Refused(415, "Texts must be UTF-8.")
    return _decode_text(body)


def _decode_text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "The text is not UTF-8.") from None


async def _read_form(headers: Headers, body: bytes, schema: Mapping[str, Any]) -> Row:
    async def stream() -> Any:
        yield body

    limits = {"max_files": MAX_PARTS, "max_fields": MAX_PARTS, "max_part_size": len(body) + 1}
    try:
        form = await _Parser(headers, stream(), **limits).parse()
    except (MultiPartException, KeyError):
        raise Refused(400, "The form is malformed.") from None
    row = Row()
    for name, value in form.multi_items():
        field = schema["properties"].get(name, {})
        if isinstance(value, UploadFile):
            content = await value.read()
            is_binary = field.get("contentEncoding") == "base64" or not field
            row[name] = content if is_binary else _parse(_decode_text(content), field, name)
        elif value:
            row[name] = _parse(value, field, name)
        elif "null" in list_types(field):  # a form sends fields that nobody has filled in
            row[name] = None
    return row


def _parse(text: str, field: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field of a form as JSON would give it."""
    types = list_types(field)
    if "string" in types:
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = MISSING
    if "array" in types and not isinstance(value, list):  # 42 is an item, and no number
        separator = field.get("x-separator", ",")
        return [part.strip() for part in text.split(separator) if part.strip()]
    if value is MISSING:
        raise Refused(422, f"{name}: it must be of type {' or '.join(sorted(types))}.", name)
    return value
