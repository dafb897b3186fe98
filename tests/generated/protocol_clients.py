"""Ask a service with a client of the Open Inference Protocol, and print what it says as JSON.

Called in an environment that has the client: ``protocol_clients.py triton|kserve HOST:PORT MODEL``,
with an image in base64 on standard input.
"""

import asyncio
import base64
import json
import sys
from typing import Any

import numpy as np

Found = dict[str, Any]
OUTPUTS = ("prediction", "labels", "scores")


def ask_with_triton(address: str, model: str, image: str) -> Found:
    """Use the HTTP client of NVIDIA's Triton Inference Server."""
    from tritonclient import http
    from tritonclient.utils import InferenceServerException

    client = http.InferenceServerClient(address)

    def infer(values: list[Any], as_bytes: bool, names: tuple[str, ...]) -> http.InferResult:
        tensor = http.InferInput("image", [len(values)], "BYTES")
        tensor.set_data_from_numpy(np.array(values, dtype=object), binary_data=as_bytes)
        outputs = [http.InferRequestedOutput(name, binary_data=as_bytes) for name in names]
        answer = client.infer(model, [tensor], outputs=outputs or None, request_id="mine")
        assert answer.get_response()["id"] == "mine"
        return answer

    found: Found = {
        "live": client.is_server_live(),
        "server_ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "extensions": client.get_server_metadata()["extensions"],
        "metadata": client.get_model_metadata(model),
    }
    encoded = base64.b64decode(image)
    in_json, in_bytes = infer([image] * 2, False, OUTPUTS), infer([encoded] * 2, True, ())
    found["json"] = {name: to_json(in_json.as_numpy(name)) for name in OUTPUTS}
    found["binary"] = {name: to_json(in_bytes.as_numpy(name)) for name in OUTPUTS}
    selected = infer([encoded], True, ("scores",)).get_response()["outputs"]
    found["selected"] = [output["name"] for output in selected]
    try:
        infer([encoded, b"text"], True, ())
    except InferenceServerException as error:
        found["refusal"] = error.message()
    client.close()
    return found


async def ask_with_kserve(address: str, model: str, image: str) -> Found:
    """Use the REST client of KServe's SDK."""
    from httpx import HTTPStatusError
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    url, encoded = f"http://{address}", base64.b64decode(image)
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:

        async def infer(values: list[Any], as_bytes: bool) -> Found:
            tensor = InferInput("image", [len(values)], "BYTES")
            tensor.set_data_from_numpy(np.array(values, dtype=object), binary_data=as_bytes)
            request = InferRequest(model, [tensor], parameters={"binary_data_output": as_bytes})
            answer = await client.infer(url, request, model)
            outputs = {output.name: output for output in answer.outputs}
            return {name: to_json(outputs[name].as_numpy()) for name in OUTPUTS}

        found: Found = {
            "live": await client.is_server_live(url),
            "server_ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, model),
            "json": await infer([image] * 2, False),
            "binary": await infer([encoded] * 2, True),
        }
        try:
            await infer([encoded, b"text"], True)
        except HTTPStatusError as error:
            found["refusal"] = str(error)
        return found


def to_json(array: np.ndarray) -> Any:
    """Return an array as lists, with its bytes as texts."""
    values = array.tolist()
    return json.loads(json.dumps(values, default=bytes.decode))


if __name__ == "__main__":
    client, *words = sys.argv[1:]
    words.append(sys.stdin.read())
    answers = (
        ask_with_triton(*words) if client == "triton" else asyncio.run(ask_with_kserve(*words))
    )
    print(json.dumps(answers))
