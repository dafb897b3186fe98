"""The Open Inference Protocol of a running service, with clients that nobody here wrote.

Triton's HTTP client and the SDK of KServe ask for the same rows as ``POST /predict``, in JSON and
with the binary extension, and must get the same answers.
"""

import json
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.environments import kserve_python, project_python
from tests.generated.services import RunningService, environment, make_trained, serving

pytestmark = [pytest.mark.slow, pytest.mark.minutes(2), pytest.mark.xdist_group("protocol")]

CLIENTS = Path(__file__).with_name("protocol_clients.py")


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    """A service of a vision project."""
    with serving(make_trained("vision-classifier"), "--run", "latest") as running:
        yield running


@pytest.mark.parametrize("client", ["triton", "kserve"])
def test_a_foreign_client_gets_the_answers_of_predict(service: RunningService, client: str) -> None:
    (described,) = service.ask("GET", "/schema").json()["models"]
    image = described["schema"]["examples"][0]["image"]
    expected = service.post({"image": image}).json()
    python = project_python() if client == "triton" else kserve_python()
    words = [client, f"127.0.0.1:{service.port}", described["name"]]
    done = subprocess.run(
        [str(python), str(CLIENTS), *words],
        input=image,
        env=environment(service.project),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(found[name] for name in ("live", "server_ready", "model_ready"))
    for way in ("json", "binary"):
        _check_answer(found[way], expected, rows=2)
    assert "not an image" in found["refusal"]
    if client == "triton":
        assert found["metadata"]["versions"] == [described["version"]]
        assert found["metadata"]["inputs"] == [
            {"name": "image", "datatype": "BYTES", "shape": [-1]}
        ]
        assert found["selected"] == ["scores"]
        assert "binary_tensor_data" in found["extensions"]


def test_wrong_requests_harm_nobody(service: RunningService) -> None:
    (described,) = service.ask("GET", "/schema").json()["models"]
    path = f"/v2/models/{described['name']}/infer"
    image = described["schema"]["examples"][0]["image"]
    good = {"inputs": [_tensor([image])]}
    huge = {"inputs": [_tensor([image]) | {"shape": [2**40]}]}
    before = service.megabytes()
    header = json.dumps({"inputs": [_tensor(None, binary_data_size=2**50)]}).encode()
    for status, body, headers in (
        (413, json.dumps(huge).encode(), {}),
        (400, header + b64decode(image), {"Inference_Header_Content_Length": str(len(header))}),
        (400, b"{}", {"Inference_Header_Content_Length": "9" * 1_000}),
        (413, b"[" * 1_000_000, {}),
    ):
        answer = service.ask("POST", path, body, **headers)
        assert answer.status == status
        assert set(answer.json()) == {"error"}
    assert service.ask("POST", "/v2/models/..%2F..%2Fetc/infer", b"{}").status == 404
    assert service.post(good, path).status == 200
    assert service.megabytes() - before < 100


def _tensor(data: list[str] | None, **parameters: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}
    return tensor if data is None else {**tensor, "data": data}


def _check_answer(found: dict[str, Any], expected: dict[str, Any], rows: int) -> None:
    """Check that all rows have the answer of ``POST /predict``."""
    assert found["prediction"] == [expected["prediction"]] * rows
    assert found["labels"] == [list(expected["scores"])] * rows
    for scores in found["scores"]:
        assert scores == pytest.approx(list(expected["scores"].values()), abs=1e-5)
