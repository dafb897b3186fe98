"""The Open Inference Protocol (v2), so that clients which nobody here wrote can ask the models.

A field of a row is a tensor with the rows in its first dimension; so is a field of an answer. The
scores of an answer are two tensors: ``labels`` and, in the same order, ``scores``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from .. import PROGRAM
from ..requests import shorten
from . import tensors
from .problems import Refused, TooManyRows, UnknownModel, json_response, load_json
from .row_checks import list_types, max_items
from .tensors import BYTES, DATATYPES, Tensor

if TYPE_CHECKING:
    from .batcher import Answer
    from .models import LoadedModel
    from .service import Service

VERSION = "2"  # of the protocol
HEADER_LENGTH = "Inference-Header-Content-Length"  # of the JSON in front of the bytes
MAX_TENSORS = 1_000
MAX_VALUES = 300_000  # of all tensors: each becomes an object, which takes a microsecond or two
PLATFORM = "keras"


@dataclass(frozen=True)
class Inference:
    """A request.

    Attributes:
        key: what the client calls it; '' for nothing.
        rows: as the service takes them.
        explain: whether it also asks for reasons.
        outputs: name -> whether as bytes; empty for all.
        binary: whether outputs come as bytes where it is not said for one.
    """

    key: str
    rows: list[dict[str, Any]]
    explain: bool
    outputs: Mapping[str, bool]
    binary: bool


def router(service: Service) -> APIRouter:
    """Return the routes below ``/v2``."""
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @routes.get("", summary="What this server is")
    async def server() -> Response:
        extensions = ["binary_tensor_data"]
        return json_response({"name": PROGRAM, "version": VERSION, "extensions": extensions})

    @routes.get("/health/live", summary="Whether the process lives")
    async def live() -> Response:
        return json_response({"live": True})

    @routes.get("/health/ready", summary="Whether all models answer")
    async def ready() -> Response:
        # The protocol has the key "live" here, and KServe's client reads "ready".
        state = {"live": service.is_ready, "ready": service.is_ready}
        return json_response(state, 200 if service.is_ready else 503)

    _add_model_routes(routes, service, "/models/{name}", ("name",))
    path = "/models/{name}/versions/{version}"
    _add_model_routes(routes, service, path, ("name", "version"))
    return routes


def _add_model_routes(
    routes: APIRouter, service: Service, path: str, parameters: Sequence[str]
) -> None:
    """Add the routes of models.

    Args:
        routes: to which they are added.
        service: whose models they are.
        path: of a model.
        parameters: in the path.
    """
    text = {"required": True, "schema": {"type": "string"}}
    extra = {"parameters": [{"name": name, "in": "path", **text} for name in parameters]}
    body = {"requestBody": {"required": True, "content": {"application/json": {}}}}

    @routes.get(path, summary="Inputs and outputs of a model", openapi_extra=extra)
    async def metadata(request: Request) -> Response:
        model = _find(service, request)
        _, answer = model.example  # known already, so that nobody counts it as a prediction
        return json_response(
            {
                "name": model.name,
                "versions": [model.version],
                "platform": PLATFORM,
                "inputs": [
                    _describe_field(name, field)
                    for name, field in model.schema["properties"].items()
                ],
                "outputs": [_describe_output(tensor) for tensor in make_outputs([answer])],
            }
        )

    @routes.get(f"{path}/ready", summary="Whether a model answers", openapi_extra=extra)
    async def ready(request: Request) -> Response:
        return json_response({"name": _find(service, request).name, "ready": True})

    @routes.post(f"{path}/infer", summary="Predict with tensors", openapi_extra=extra | body)
    async def infer(request: Request) -> Response:
        body = await request.body()
        model = _find(service, request)  # now: another version may have come with the body
        length = request.headers.get(HEADER_LENGTH)
        inference = read_inference(body, length, model.schema, service.fields.max_rows)
        answers = await service.answer(model.name, inference.rows, inference.explain)
        for number, answer in enumerate(answers, start=1):
            if "error" in answer:  # the protocol knows no answers to some of the rows
                raise Refused(400, f"row {number}: {answer['error']}")
        return _respond(model, inference, make_outputs(answers))


def _find(service: Service, request: Request) -> LoadedModel:
    """Return the model that the path names.

    Raises:
        UnknownModel: there is none of this name, or not in this version.
    """
    model = service.find(request.path_params["name"])
    if request.path_params.get("version", model.version) != model.version:
        raise UnknownModel
    return model


# === Requests ===


def read_inference(
    body: bytes, header_length: str | None, schema: Mapping[str, Any], max_rows: int
) -> Inference:
    """Read a request.

    Args:
        body: JSON, and behind it the bytes of tensors.
        header_length: of the JSON; None: all of it.
        schema: of a row.
        max_rows: that a request may have.

    Raises:
        Refused: it is not as the protocol has it, or its fields are not those of the model.
    """
    content, binary = _split_body(body, header_length)
    inputs = _read_list(content, "inputs")
    headers: dict[str, Tensor] = {}
    for item in inputs:
        header = tensors.read_header(item)
        if header.name in headers:
            raise Refused(400, f"inputs: {shorten(header.name)}: it occurs twice.")
        headers[header.name] = header
    check_headers(list(headers.values()), schema, max_rows)
    read = list[Tensor]()
    for header, item in zip(headers.values(), inputs, strict=True):
        tensor, size = tensors.read_tensor(header, item, binary)
        read.append(tensor)
        binary = binary[size:]
    if binary:
        raise Refused(400, "The body is longer than its tensors.")
    key, parameters = content.get("id", ""), content.get("parameters") or {}
    if not isinstance(key, str):
        raise Refused(400, "id: it must be a text.")
    if not isinstance(parameters, dict):
        raise Refused(400, "parameters: they must be an object.")
    is_binary = parameters.get("binary_data_output") is True
    return Inference(
        key=key,
        rows=make_rows(read, schema),
        explain=parameters.get("explain") is True,
        outputs=_read_outputs(content, is_binary),
        binary=is_binary,
    )


def _split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON of a body, and the bytes behind it."""
    length = len(body)
    if header_length is not None:
        digits = header_length.isascii() and header_length.isdigit()
        # Python refuses to read numbers of thousands of digits.
        if not digits or len(header_length) > len(str(length)) or int(header_length) > length:
            raise Refused(400, f"{HEADER_LENGTH} is no number of bytes of the body.")
        length = int(header_length)
    content = load_json(body[:length])
    if not isinstance(content, dict):
        raise Refused(400, "The body must be an object with inputs.")
    return content, memoryview(body)[length:]


def _read_list(content: Mapping[str, Any], name: str) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TENSORS:
        raise Refused(400, f"{name}: they must be a list of 1 to {MAX_TENSORS:,} tensors.")
    return value


def _read_outputs(content: Mapping[str, Any], is_binary: bool) -> dict[str, bool]:
    """Return the names of the requested outputs, and whether they are to come as bytes."""
    if not content.get("outputs"):
        return {}
    outputs: dict[str, bool] = {}
    for item in _read_list(content, "outputs"):
        parameters = (item.get("parameters") or {}) if isinstance(item, dict) else None
        if not isinstance(parameters, dict) or not isinstance(item.get("name"), str):
            raise Refused(400, "outputs: each must be an object with a name.")
        if "classification" in parameters:
            raise Refused(400, "outputs: classification is not served; see labels and scores.")
        outputs[item["name"]] = parameters.get("binary_data", is_binary) is True
    return outputs


def check_headers(inputs: Sequence[Tensor], schema: Mapping[str, Any], max_rows: int) -> None:
    """Check fields, datatypes and shapes, before any value becomes an object.

    Args:
        inputs: tensors without values.
        schema: of a row.
        max_rows: that a request may have.

    Raises:
        Refused: a field is unknown, of another type or too wide, or the tensors differ in rows.
    """
    size, properties = inputs[0].shape[0], schema["properties"]
    for tensor in inputs:
        name, field = shorten(tensor.name), properties.get(tensor.name)
        if field is None:
            known = ", ".join(properties)
            raise Refused(400, f"inputs: {name}: there is no such field, only {known}.")
        kind = _kind(field)
        if tensor.datatype not in DATATYPES[kind]:
            raise Refused(400, f"inputs: {name}: its datatype must be {DATATYPES[kind][0]}.")
        if tensor.shape[0] != size:
            raise Refused(400, "inputs: all tensors must have as many rows.")
        width = math.prod(tensor.shape[1:])
        if kind == "array" and len(tensor.shape) == 2:
            if width > max_items(field):
                limit = f"{max_items(field):,}"
                raise Refused(400, f"inputs: {name}: a row may have at most {limit} items.")
        elif width != 1:
            raise Refused(400, f"inputs: {name}: its shape must be [rows] or [rows, 1].")
    if not size:
        raise Refused(400, "inputs: the first dimension must be at least 1 row.")
    if size > max_rows:
        raise TooManyRows(max_rows)
    if sum(math.prod(tensor.shape) for tensor in inputs) > MAX_VALUES:
        raise Refused(413, f"inputs: all tensors may have at most {MAX_VALUES:,} values.")


def make_rows(inputs: Sequence[Tensor], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that tensors hold, a field each.

    Args:
        inputs: with the rows in the first dimension, see ``check_headers``.
        schema: of a row.

    Raises:
        Refused: a text is not UTF-8.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(inputs[0].shape[0])]
    for tensor in inputs:
        values = _read_field(tensor, schema["properties"][tensor.name])
        for row, value in zip(rows, values, strict=True):
            row[tensor.name] = value
    return rows


def _read_field(tensor: Tensor, field: Mapping[str, Any]) -> list[Any]:
    """Return the values (rows,) of a field."""
    name, kind = shorten(tensor.name), _kind(field)
    values = list(tensor.values)
    if tensor.datatype == BYTES and field.get("contentEncoding") != "base64":
        values = [_decode(value, name) for value in values]
    if "null" in field.get("type", ()):
        values = [None if value != value else value for value in values]  # NaN
    rows, width = tensor.shape[0], len(values) // tensor.shape[0]
    if kind == "array" and len(tensor.shape) == 2:  # '' fills shorter lists
        lists = (values[row * width : (row + 1) * width] for row in range(rows))
        return [[value for value in part if value != ""] for part in lists]
    return values


def _decode(value: Any, name: str) -> Any:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise Refused(400, f"inputs: {name}: a text is not UTF-8.") from None


def _kind(field: Mapping[str, Any]) -> str:
    """Return the type of a field, besides null."""
    return next(kind for kind in list_types(field) if kind != "null")


def _describe_field(name: str, field: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(field)
    shape = [-1, -1] if kind == "array" else [-1]
    return {"name": name, "datatype": DATATYPES[kind][0], "shape": shape}


# === Answers ===


def make_outputs(answers: Sequence[Answer]) -> list[Tensor]:
    """Return answers as tensors, a field each; the scores as ``labels`` and ``scores``."""
    outputs: list[Tensor] = []
    for name in answers[0]:
        column = [answer.get(name) for answer in answers]
        if name == "scores" and all(isinstance(value, dict) for value in column):
            labels, scores = ([[*part] for part in parts] for parts in _split_scores(column))
            outputs.append(tensors.make_table("labels", BYTES, labels, ""))
            outputs.append(tensors.make_table("scores", "FP64", scores, 0.0))
        else:
            outputs.append(tensors.make_tensor(name, column))
    return outputs


def _split_scores(column: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    return [[*map(str, row)] for row in column], [[*map(float, row.values())] for row in column]


def _describe_output(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1] * len(tensor.shape)}


def _respond(model: LoadedModel, inference: Inference, outputs: Sequence[Tensor]) -> Response:
    by_name = {tensor.name: tensor for tensor in outputs}
    formats = inference.outputs or dict.fromkeys(by_name, inference.binary)
    descriptions, contents = list[dict[str, Any]](), list[bytes]()
    for name, is_binary in formats.items():
        if name not in by_name:
            known = ", ".join(by_name)
            raise Refused(400, f"outputs: {shorten(name)}: there is no such output, only {known}.")
        description, content = tensors.write_tensor(by_name[name], is_binary)
        descriptions.append(description)
        contents.append(content)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if inference.key:
        answer["id"] = inference.key
    answer["outputs"] = descriptions
    if not any(formats.values()):
        return json_response(answer)
    header = orjson.dumps(answer)
    headers = {HEADER_LENGTH: str(len(header))}
    body = b"".join([header, *contents])
    return Response(body, 200, headers, "application/octet-stream")
