"""Tensors of the Open Inference Protocol: in JSON, or as bytes behind it.

Reference: https://kserve.github.io/open-inference-protocol and Triton's "binary tensor data"
extension. Whatever a header says of sizes, no more is read or made than the body has.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ..requests import shorten
from .problems import Refused

BYTES = "BYTES"
DTYPES = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
INTEGERS = tuple(name for name in DTYPES if "INT" in name)
FLOATS = tuple(name for name in DTYPES if name.startswith("FP"))
# By the type of a field: the datatype that it is described with, and those that are taken.
DATATYPES = {
    "string": (BYTES,),
    "array": (BYTES,),
    "number": ("FP64", *FLOATS, *INTEGERS),
    "integer": ("INT64", *INTEGERS),
    "boolean": ("BOOL",),
}
LENGTH = struct.Struct("<I")  # in front of each element of a BYTES tensor
MAX_DIMENSIONS = 3
WRONG_COUNT = "it has not as many values as its shape says"


@dataclass(frozen=True)
class Tensor:
    """A named array.

    Attributes:
        values: the elements in row-major order; of BYTES texts, or bytes that came as such.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]


# === Reading ===


def read_header(content: Any) -> Tensor:
    """Read what the description of a tensor says, without values.

    Args:
        content: the description, from JSON.

    Raises:
        Refused: it contradicts the protocol.
    """
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise Refused(400, "inputs: each must be an object with a name.")
    name, datatype = content["name"], content.get("datatype")
    if datatype != BYTES and (not isinstance(datatype, str) or datatype not in DTYPES):
        raise _refuse(name, f"the datatype must be one of {BYTES}, {', '.join(DTYPES)}")
    return Tensor(name, datatype, _read_shape(name, content.get("shape")), ())


def read_tensor(
    header: Tensor, content: Mapping[str, Any], binary: memoryview
) -> tuple[Tensor, int]:
    """Read the values of a tensor of a request, as many as its shape says.

    Args:
        header: what its description says; its size is known to be allowed.
        content: the description.
        binary: the bytes from where those of this tensor begin, if it has some.

    Returns:
        The tensor, and how many of the bytes were its own.

    Raises:
        Refused: it contradicts itself or the protocol.
    """
    name, datatype, shape = header.name, header.datatype, header.shape
    count = math.prod(shape)
    size = _read_parameters(name, content).get("binary_data_size")
    if size is None:
        values = _read_data(name, datatype, content.get("data"), shape)
        size = 0
    elif "data" in content:
        raise _refuse(name, "it has data and binary_data_size; only one may be")
    elif not is_whole(size) or size > len(binary):
        raise _refuse(name, "binary_data_size is no number of bytes that follow")
    elif datatype == BYTES:
        values = _read_elements(name, binary[:size], count)
    elif size != count * np.dtype(DTYPES[datatype]).itemsize:
        raise _refuse(name, "binary_data_size is not that of its datatype and shape")
    else:
        values = _to_list(np.frombuffer(binary[:size], DTYPES[datatype]))
    if len(values) != count:
        raise _refuse(name, WRONG_COUNT)
    return Tensor(name, datatype, shape, values), size


def is_whole(value: Any) -> bool:
    """Return whether a value of JSON is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(map(is_whole, shape)):
        raise _refuse(name, "the shape must be a list of whole numbers")
    if not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise _refuse(name, f"the shape must have 1 to {MAX_DIMENSIONS} numbers, rows first")
    return tuple(shape)


def _read_parameters(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    parameters = content.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _refuse(name, "parameters must be an object")
    return parameters


def _read_data(name: str, datatype: str, data: Any, shape: Sequence[int]) -> list[Any]:
    """Read the values in JSON, flat or nested as deeply as the shape."""
    if not isinstance(data, list):
        raise _refuse(name, "it has no data, and no binary_data_size")
    count = math.prod(shape)
    for _ in shape[1:]:
        if data and len(data) <= count and all(isinstance(part, list) for part in data):
            if sum(map(len, data)) > count:
                raise _refuse(name, WRONG_COUNT)
            data = [value for part in data for value in part]
    if len(data) != count:
        raise _refuse(name, WRONG_COUNT)
    allowed = _python_types(datatype)
    for value in data:
        if value is not None and type(value) not in allowed:
            raise _refuse(name, f"its data are not of the datatype {datatype}")
    return data


def _python_types(datatype: str) -> tuple[type, ...]:
    if datatype == BYTES:
        return (str,)
    if datatype == "BOOL":
        return (bool,)
    return (int,) if datatype in INTEGERS else (int, float)


def _read_elements(name: str, content: memoryview, count: int) -> list[bytes]:
    """Read the elements of a BYTES tensor, each with its length in front."""
    if count * LENGTH.size > len(content):
        raise _refuse(name, WRONG_COUNT)
    values, at = list[bytes](), 0
    while at < len(content):
        if len(values) == count:
            raise _refuse(name, WRONG_COUNT)
        if at + LENGTH.size > len(content):
            raise _refuse(name, "its last element is cut off")
        (length,) = LENGTH.unpack_from(content, at)
        at += LENGTH.size
        if length > len(content) - at:
            raise _refuse(name, "an element is longer than the bytes that follow")
        values.append(bytes(content[at : at + length]))
        at += length
    return values


def _to_list(values: np.ndarray) -> list[Any]:
    if values.dtype in (np.float16, np.float32):
        # 0.1 in 32 bits is more than 0.1 in 64, and may be out of a field's range.
        return [float(str(value)) for value in values]
    return values.tolist()


def _refuse(name: str, reason: str) -> Refused:
    return Refused(400, f"inputs: {shorten(name)}: {reason}.")


# === Writing ===


def make_tensor(name: str, rows: Sequence[Any]) -> Tensor:
    """Return values (rows,) of answers as a tensor of the narrowest datatype; others as JSON."""
    kinds = {type(value) for value in rows}
    if kinds == {bool}:
        return Tensor(name, "BOOL", (len(rows),), rows)
    if kinds == {int}:
        return Tensor(name, "INT64", (len(rows),), rows)
    if kinds <= {int, float}:
        return Tensor(name, "FP64", (len(rows),), [float(value) for value in rows])
    texts = [value if isinstance(value, str) else orjson.dumps(value).decode() for value in rows]
    return Tensor(name, BYTES, (len(rows),), texts)


def make_table(name: str, datatype: str, rows: Sequence[Sequence[Any]], filler: Any) -> Tensor:
    """Return rows of different lengths as a tensor (rows, longest).

    Args:
        name: of the tensor.
        datatype: of its values.
        rows: the values.
        filler: stands behind shorter ones.
    """
    longest = max(map(len, rows), default=0)
    values = [value for row in rows for value in [*row, *[filler] * (longest - len(row))]]
    return Tensor(name, datatype, (len(rows), longest), values)


def write_tensor(tensor: Tensor, as_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return the description of a tensor, and its bytes if it is to have some.

    Args:
        tensor: of the answer.
        as_binary: whether its values come as bytes instead of JSON.
    """
    header = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if not as_binary:
        return {**header, "data": list(tensor.values)}, b""
    if tensor.datatype == BYTES:
        encoded = [str(value).encode("utf-8", "replace") for value in tensor.values]
        content = b"".join(LENGTH.pack(len(value)) + value for value in encoded)
    else:
        content = np.array(tensor.values, DTYPES[tensor.datatype]).tobytes()
    return {**header, "parameters": {"binary_data_size": len(content)}}, content
