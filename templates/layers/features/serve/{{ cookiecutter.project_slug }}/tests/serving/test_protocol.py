"""The Open Inference Protocol: tensors to rows and back, and requests that are made to harm."""

import asyncio
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine.serving import tensors
from {{ cookiecutter.package_name }}.engine.serving.app import create_app
from {{ cookiecutter.package_name }}.engine.serving.protocol import read_inference

from .client import Answer, EchoModel, ask, make_service

SCHEMA = {
    "type": "object",
    "properties": {
        "weight": {"type": ["number", "null"]},
        "file": {"type": "string", "contentEncoding": "base64"},
        "note": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer"},
        "flag": {"type": "boolean"},
    },
    "examples": [{"weight": 1.5}],
}
HEADER = "Inference-Header-Content-Length"
PATH = "/v2/models/scales/infer"


@dataclass
class Scales(EchoModel):
    """A model that keeps the rows it is asked for; a weight below zero is wrong."""

    name: str = "scales"
    version: str = "run-7"
    schema: dict[str, Any] = field(default_factory=lambda: SCHEMA)
    rows: list[Any] = field(default_factory=list)
    example: tuple[dict, dict] = (
        {"weight": 1.5},
        {"prediction": "heavy", "scores": {"light": 0.25}, "weight": 1.5, "rank": 3},
    )

    def answer(self, rows: Sequence[Any], explain: bool = False) -> tuple[Any, list, list]:
        self.rows.extend(rows)
        answers = [self._weigh(row, explain) for row in rows]
        return None, answers, answers

    def _weigh(self, row: Any, explain: bool) -> dict[str, Any]:
        weight = row.get("weight") or 0.0
        if weight < 0:
            return {"error": "weight: it is below zero."}
        scores = {"light": 0.25, "heavy": 0.75} if weight else {"light": 1.0}
        answer = {"prediction": "heavy é", "scores": scores, "weight": weight, "rank": 3}
        return answer | ({"explanation": {"parts": [1]}} if explain else {})


def send(body: Any, path: str = PATH, method: str = "POST", **headers: str) -> tuple[Answer, list]:
    """Send one request; return the answer, and the rows that have reached the model."""

    async def main() -> tuple[Answer, list]:
        model = Scales()
        service = make_service(model)
        answer = await ask(create_app(service), method, path, body, **headers)
        await service.close()
        return answer, model.rows

    return asyncio.run(main())


def tensor(name: str, datatype: str, shape: list[int], data: Any = None, **more: Any) -> Any:
    own = {} if data is None else {"data": data}
    return {"name": name, "datatype": datatype, "shape": shape, **own, **more}


def pack(inputs: list[Any], content: bytes, **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body with bytes behind its JSON, and its headers."""
    header = json.dumps({"inputs": inputs, **more}).encode()
    return header + content, {HEADER: str(len(header))}


def pack_texts(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def test_metadata_and_health() -> None:
    for path, expected in (
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"live": True, "ready": True}),
        ("/v2/models/scales/ready", {"name": "scales", "ready": True}),
        ("/v2/models/scales/versions/run-7/ready", {"name": "scales", "ready": True}),
    ):
        answer, _ = send(b"", path, "GET")
        assert (answer.status, answer.json()) == (200, expected)
    assert "binary_tensor_data" in send(b"", "/v2", "GET")[0].json()["extensions"]
    for path in ("/v2/models/scales", "/v2/models/scales/versions/run-7"):
        described = send(b"", path, "GET")[0].json()
        assert (described["name"], described["versions"]) == ("scales", ["run-7"])
        assert {one["name"]: (one["datatype"], one["shape"]) for one in described["inputs"]} == {
            "weight": ("FP64", [-1]),
            "file": ("BYTES", [-1]),
            "note": ("BYTES", [-1]),
            "tags": ("BYTES", [-1, -1]),
            "count": ("INT64", [-1]),
            "flag": ("BOOL", [-1]),
        }
        assert {one["name"]: (one["datatype"], one["shape"]) for one in described["outputs"]} == {
            "prediction": ("BYTES", [-1]),
            "labels": ("BYTES", [-1, -1]),
            "scores": ("FP64", [-1, -1]),
            "weight": ("FP64", [-1]),
            "rank": ("INT64", [-1]),
        }
    for path in ("/v2/models/other", "/v2/models/scales/versions/1", "/v2/models/..%2f..%2fetc"):
        answer, _ = send(b"", path, "GET")
        assert answer.status == 404
        assert set(answer.json()) == {"error"}


def test_tensors_in_json_become_rows_and_answers_tensors() -> None:
    inputs = [
        tensor("weight", "FP64", [2], [1.5, None]),
        tensor("file", "BYTES", [2, 1], [["aGk="], ["aG8="]]),
        tensor("note", "BYTES", [2], ["é", ""]),
        tensor("tags", "BYTES", [2, 2], ["a", "b", "c", ""]),
        tensor("count", "INT64", [2], [1, 2]),
        tensor("flag", "BOOL", [2], [True, False]),
    ]
    answer, rows = send({"id": "mine", "inputs": inputs})
    assert rows == [
        {"weight": 1.5, "file": "aGk=", "note": "é", "tags": ["a", "b"], "count": 1, "flag": True},
        {"weight": None, "file": "aG8=", "note": "", "tags": ["c"], "count": 2, "flag": False},
    ]
    assert answer.status == 200
    assert answer.json() == {
        "model_name": "scales",
        "model_version": "run-7",
        "id": "mine",
        "outputs": [
            tensor("prediction", "BYTES", [2], ["heavy é"] * 2),
            tensor("labels", "BYTES", [2, 2], ["light", "heavy", "light", ""]),
            tensor("scores", "FP64", [2, 2], [0.25, 0.75, 1.0, 0.0]),
            tensor("weight", "FP64", [2], [1.5, 0.0]),
            tensor("rank", "INT64", [2], [3, 3]),
        ],
    }


def test_tensors_as_bytes_in_both_directions() -> None:
    weights = np.array([0.1, np.nan], "float32")
    texts = pack_texts(b"\x89PNG", b"")
    flags = np.array([True, False])
    inputs = [
        tensor("weight", "FP32", [2], parameters={"binary_data_size": 8}),
        tensor("file", "BYTES", [2, 1], parameters={"binary_data_size": len(texts)}),
        tensor("note", "BYTES", [2], ["in", "between"]),
        tensor("flag", "BOOL", [2], parameters={"binary_data_size": 2}),
    ]
    outputs = [
        {"name": "scores", "parameters": {"binary_data": True}},
        {"name": "prediction", "parameters": {"binary_data": True}},
        {"name": "rank"},
    ]
    content = weights.tobytes() + texts + flags.tobytes()
    body, headers = pack(inputs, content, outputs=outputs)
    answer, rows = send(body, **headers)
    assert rows == [
        {"weight": 0.1, "file": b"\x89PNG", "note": "in", "flag": True},
        {"weight": None, "file": b"", "note": "between", "flag": False},
    ]
    length = int(answer.headers[HEADER.lower()])
    described = json.loads(answer.body[:length])["outputs"]
    assert [one["name"] for one in described] == ["scores", "prediction", "rank"]
    scores, prediction, rank = described
    assert scores["parameters"] == {"binary_data_size": 32}
    values = np.frombuffer(answer.body[length : length + 32]).reshape(2, 2)
    np.testing.assert_array_equal(values, [[0.25, 0.75], [1.0, 0.0]])
    assert answer.body[length + 32 :] == pack_texts(*["heavy é".encode()] * 2)
    assert prediction["parameters"] == {"binary_data_size": len(answer.body) - length - 32}
    assert rank["data"] == [3, 3]


def test_everything_as_bytes_and_reasons() -> None:
    parameters = {"binary_data_output": True, "explain": True}
    inputs = [tensor("weight", "INT32", [1], [2])]
    answer, _ = send({"inputs": inputs, "parameters": parameters})
    described = json.loads(answer.body[: int(answer.headers[HEADER.lower()])])["outputs"]
    assert all("binary_data_size" in one["parameters"] for one in described)
    assert answer.body.endswith(pack_texts(b'{"parts":[1]}'))


def test_a_wrong_row_refuses_the_request_and_is_named() -> None:
    answer, _ = send({"inputs": [tensor("weight", "FP64", [3], [1, 2, -3])]})
    assert answer.status == 400
    assert answer.json() == {"error": "row 3: weight: it is below zero."}


WEIGHT = tensor("weight", "FP64", [1], [1.5])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[", "not JSON"),
        (b'{"inputs":' + b"[" * 50_000, "not JSON"),
        ([], "must be an object"),
        ({}, "inputs: they must be a list"),
        ({"inputs": []}, "inputs: they must be a list"),
        ({"inputs": [WEIGHT] * 1_001}, "inputs: they must be a list"),
        ({"inputs": [3]}, "object with a name"),
        ({"inputs": [WEIGHT, WEIGHT]}, "weight: it occurs twice"),
        ({"inputs": [WEIGHT], "id": 3}, "id: it must be a text"),
        ({"inputs": [WEIGHT], "parameters": [1]}, "parameters: they must be"),
        ({"inputs": [WEIGHT | {"datatype": "FP8"}]}, "the datatype must be one of"),
        ({"inputs": [WEIGHT | {"datatype": ["FP64"]}]}, "the datatype must be one of"),
        ({"inputs": [WEIGHT | {"shape": []}]}, "the shape must have"),
        ({"inputs": [WEIGHT | {"shape": [1] * 9}]}, "the shape must have"),
        ({"inputs": [WEIGHT | {"shape": [-1]}]}, "the shape must be a list of whole"),
        ({"inputs": [WEIGHT | {"shape": [True]}]}, "the shape must be a list of whole"),
        ({"inputs": [WEIGHT | {"shape": [2]}]}, "not as many values"),
        ({"inputs": [WEIGHT | {"shape": [2**62, 2**62]}]}, r"must be \[rows\] or"),
        ({"inputs": [tensor("tags", "BYTES", [1, 10_001], [""])]}, "at most 10,000 items"),
        ({"inputs": [tensor("tags", "BYTES", [1, 2], [["a", "b", "c"]])]}, "not as many values"),
        ({"inputs": [tensor("weight", "FP64", [0], [])]}, "at least 1 row"),
        ({"inputs": [WEIGHT | {"data": ["1.5"]}]}, "not of the datatype FP64"),
        ({"inputs": [WEIGHT | {"data": [True]}]}, "not of the datatype FP64"),
        ({"inputs": [WEIGHT | {"data": {}}]}, "it has no data"),
        ({"inputs": [WEIGHT | {"data": [[[[[1.5]]]]]}]}, "not of the datatype FP64"),
        ({"inputs": [WEIGHT, tensor("count", "INT64", [2], [1, 2])]}, "as many rows"),
        ({"inputs": [tensor("weight", "BYTES", [1], ["1"])]}, "its datatype must be FP64"),
        ({"inputs": [tensor("weight", "FP64", [1, 2], [1, 2])]}, r"must be \[rows\] or"),
        ({"inputs": [tensor("<b>\n", "FP64", [1], [1])]}, r"<b>\\n: there is no such field"),
        ({"inputs": [WEIGHT], "outputs": [{"name": "x"}]}, "x: there is no such output"),
        ({"inputs": [WEIGHT], "outputs": ["x"]}, "outputs: each must be an object"),
        (
            {"inputs": [WEIGHT], "outputs": [{"name": "x", "parameters": {"classification": 1}}]},
            "classification is not served",
        ),
    ],
)
def test_wrong_requests_are_refused_with_a_reason(body: Any, reason: str) -> None:
    answer, _ = send(body)
    assert answer.status == 400
    assert set(answer.json()) == {"error"}
    assert re.search(reason, answer.json()["error"])


@pytest.mark.parametrize(
    ("length", "content"),
    [
        ("-1", b""),
        ("1e3", b""),
        ("٣", b""),
        ("9" * 10_000, b""),
        ("100000", b""),
        ("3", b""),
        (None, b"left over"),
    ],
)
def test_wrong_lengths_of_the_header(length: str | None, content: bytes) -> None:
    body, headers = pack([WEIGHT], content)
    if length is not None and length.isascii():
        headers[HEADER] = length
    elif length is not None:
        with pytest.raises(Exception, match="no number of bytes"):
            read_inference(body, length, SCHEMA, 128)
        return
    assert send(body, **headers)[0].status == 400


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "content"),
    [
        ("FP64", [1], 7, b"1234567"),
        ("FP64", [1], 8, b"1234"),
        ("FP64", [2**40], 8, b"12345678"),
        ("FP64", [1], -8, b"12345678"),
        ("FP64", [1], 8.0, b"12345678"),
        ("FP64", [1], True, b"12345678"),
        ("FP64", [1], 10**18, b"12345678"),
        ("BYTES", [1], 3, b"\x00\x00\x00"),
        ("BYTES", [1], 5, struct.pack("<I", 2**32 - 1) + b"x"),
        ("BYTES", [1], 6, struct.pack("<I", 1) + b"xy"),
        ("BYTES", [2], 8, struct.pack("<I", 4) + b"abcd"),
        ("BYTES", [2**40], 5, struct.pack("<I", 1) + b"x"),
    ],
)
def test_wrong_sizes_of_bytes(datatype: str, shape: list[int], size: Any, content: bytes) -> None:
    name = "weight" if datatype == "FP64" else "note"
    body, headers = pack(
        [tensor(name, datatype, shape, parameters={"binary_data_size": size})], content
    )
    answer, rows = send(body, **headers)
    assert (answer.status, rows) == (413 if max(shape) > 128 else 400, [])


def test_rows_are_counted_before_values_become_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "read_tensor", pytest.fail)
    for inputs in (
        [tensor("weight", "FP64", [129], [1.5] * 129)],
        [tensor("tags", "BYTES", [2**60, 0], [])],
        [tensor("tags", "BYTES", [100, 3_001], [])],
    ):
        answer, _ = send({"inputs": inputs})
        assert answer.status == 413
        assert re.search(r"at most (128 rows|300,000 values)\.", answer.json()["error"])


def test_texts_must_be_unicode_and_files_need_not() -> None:
    content = pack_texts(b"\xff\xfe")
    for name, status in (("note", 400), ("file", 200)):
        parameters = {"binary_data_size": len(content)}
        body, headers = pack([tensor(name, "BYTES", [1], parameters=parameters)], content)
        assert send(body, **headers)[0].status == status
