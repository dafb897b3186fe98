"""What the application answers, refuses, logs and counts, with a model that echoes its rows."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.package_name }} import engine
from {{ cookiecutter.package_name }}.engine.serving import request_log
from {{ cookiecutter.package_name }}.engine.serving import service as serving
from {{ cookiecutter.package_name }}.engine.serving.app import create_app
from {{ cookiecutter.package_name }}.engine.serving.keys import Keys, add

from .client import EchoModel, ask, make_service, until

PNG = b"\x89PNG\r\n\x1a\n"
SECRET = "Jane Doe, 1950"


def run(test: Callable[..., Any], *models: Any, keys: Keys | None = None, **fields: Any) -> Any:
    """Call an asynchronous test with the application of a service."""

    async def main() -> Any:
        service = make_service(*(models or (EchoModel(),)), **fields)
        try:
            return await test(create_app(service, keys), service)
        finally:
            await service.close()

    return asyncio.run(main())


def status_of(*words: Any, keys: Keys | None = None, fields: Any = None, **headers: str) -> int:
    """Send one request and return the status; every answer but 200 must say why."""

    async def test(app: Any, service: Any) -> int:
        answer = await ask(app, *words, **headers)
        assert answer.status < 300 or answer.json()["error"].endswith((".", ")."))
        return answer.status

    return run(test, keys=keys, **(fields or {}))


def test_the_application_imports_no_tensorflow() -> None:
    script = (
        f"import sys; from {engine.__name__}.serving import app, loader, server\n"
        "from importlib import import_module\n"
        "for name in app.ROUTERS: import_module('.' + name, app.__package__)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    own = {**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], check=True, env=own)


# === Bodies ===


def test_one_row_many_rows_files_texts_and_forms() -> None:
    form = (
        b'--X\r\nContent-Disposition: form-data; name="file"; filename="../a.png"\r\n\r\n'
        + PNG
        + b'\r\n--X\r\nContent-Disposition: form-data; name="number"\r\n\r\n7\r\n'
        + b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\n\r\n'
        + b'--X\r\nContent-Disposition: form-data; name="age"\r\n\r\n\r\n'
        + b'--X\r\nContent-Disposition: form-data; name="parts"\r\n\r\na, b|c\r\n--X--\r\n'
    )

    async def test(app: Any, service: Any) -> None:
        one = await ask(app, "POST", "/predict", {"number": 3})
        assert (one.status, one.json()) == (200, {"prediction": "3", "number": "3"})
        assert one.headers["x-model"] == "echo/1"
        many = await ask(app, "POST", "/models/echo/predict", [{"number": 1}, {}, {"number": 2}])
        assert (many.status, len(many.json())) == (200, 3)
        assert many.json()[1] == {"error": "number: it is missing."}
        assert (await ask(app, "POST", "/predict", [{}, {}])).status == 422
        wrong = await ask(app, "POST", "/predict", {})
        assert wrong.status == 422
        assert wrong.json() == {"error": "number: it is missing.", "field": "number"}
        sent = await ask(
            app, "POST", "/predict", form, content_type="multipart/form-data; boundary=X"
        )
        lists = {"age": "None", "parts": "['a, b', 'c']"}
        assert sent.json() == {"prediction": "7", "number": "7", "file": str(PNG), **lists}
        for kind in ("image/png", "text/plain; charset=utf-8"):
            raw = await ask(app, "POST", "/predict", b"abc", content_type=kind)
            assert raw.json()["error"] == "number: it is missing."
        explained = await ask(app, "POST", "/predict", {"number": 1}, "explain=true")
        assert explained.json()["explanation"] == "because"

    run(test)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, b"{", {}),
        (400, b'{"number": NaN}', {}),
        (400, b"[" * 100_000, {}),
        (413, b"[" + b"[]," * 100_000 + b"[]]", {}),
        (422, b"[]", {}),
        (422, b"3", {}),
        (415, b"a,b", {"content_type": "text/csv"}),
        (415, b"{}", {"content_encoding": "gzip"}),
        (415, b"{}", {"content_type": ""}),
        (415, b"\xff", {"content_type": "text/plain; charset=utf-16"}),
        (400, b"\xff", {"content_type": "text/plain"}),
        (400, b"x", {"content_type": "multipart/form-data"}),
        (413, b" " * 1_000_001, {}),
        (413, b"{}", {"content_length": "9" * 40}),
        (413, b"{}", {"content_length": "-1"}),
        (413, json.dumps([{"number": 1}] * 129).encode(), {}),
    ],
)
def test_bodies_that_are_refused(status: int, body: bytes, headers: dict[str, str]) -> None:
    headers = {"content_type": "application/json", **headers}
    words = ("POST", "/predict", body)
    assert status_of(*words, fields={"max_body_mb": 1}, **headers) == status


def test_a_body_without_a_length_is_bounded() -> None:
    async def test(app: Any, service: Any) -> None:
        parts = [b" " * 100_000] * 30
        answer = await ask(app, "POST", "/predict", parts=parts, content_type="application/json")
        assert answer.status == 413
        assert service.body_bytes == 0

    run(test, max_body_mb=1)


def test_all_bodies_together_are_bounded() -> None:
    async def test(app: Any, service: Any) -> None:
        service.body_bytes = 8_000_000
        answer = await ask(app, "POST", "/predict", {"number": 1})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    run(test, max_body_mb=1)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"number": [[[1]]]}, "number: it must be of type number."),
        ({"age": {"a": 1}}, "age: it must be of type null or number."),
        ({"parts": ["a", ["b"]]}, "parts: it must be of type string."),
        ({"parts": ["a"] * 10_001}, "parts: 10,001 items, more than the 10,000 allowed."),
        ({"other": [1] * 100}, "other: there is no such field, only "),
        ([1] * 100, "A row must be an object."),
    ],
)
def test_rows_of_another_shape_never_wait(row: Any, problem: str) -> None:
    sent = list[Any]()

    async def test(app: Any, service: Any) -> None:
        answers = (await ask(app, "POST", "/predict", [row, {"number": 1}])).json()
        assert ["error" in answer for answer in answers] == [True, False]

    run(test, EchoModel(work=sent.extend))
    (wrong, right) = sent
    assert wrong.problem.startswith(problem)
    assert right == {"number": 1}


def test_lists_of_forms() -> None:
    async def test(app: Any, service: Any) -> None:
        for text, value in (("42", "['42']"), ('["a|b"]', "['a|b']"), ("{a|1}", "['{a', '1}']")):
            parts = {"number": "1", "parts": text}
            form = "".join(
                f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{part}\r\n'
                for name, part in parts.items()
            )
            kind = "multipart/form-data; boundary=X"
            body = f"{form}--X--\r\n".encode()
            answer = await ask(app, "POST", "/predict", body, content_type=kind)
            assert answer.json()["parts"] == value

    run(test)


# === Paths, parameters, origins, keys ===


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (404, "GET", "/nothing"),
        (405, "GET", "/predict"),
        (404, "POST", "/models/other/predict"),
        (404, "POST", "/models/../../etc/passwd/predict"),
        (404, "POST", "/models/..\r\nX-Evil: 1/predict"),
    ],
)
def test_paths_that_are_refused(status: int, method: str, path: str) -> None:
    assert status_of(method, path, {"number": 1}) == status


def test_unknown_parameters_are_refused() -> None:
    assert status_of("POST", "/predict", {"number": 1}, "explain=perhaps") == 422
    assert status_of("POST", "/predict", {"number": 1}, "key=abc") == 422


def test_pages_of_other_origins_are_refused_unless_named() -> None:
    words = ("POST", "/predict", {"number": 1})
    assert status_of(*words, origin="http://localhost:8000") == 200
    similar = "http://localhost:8000.evil.example"
    for origin in ("https://evil.example", "null", similar, "http://[", "x" * 99):
        assert status_of(*words, origin=origin) == 403
    fields = {"cors": "https://shop.example, https://app.example"}
    assert status_of(*words, origin="https://app.example", fields=fields) == 200
    assert status_of(*words, origin="https://evil.example", fields=fields) == 403


@pytest.mark.parametrize(
    ("status", "host", "fields"),
    [
        (200, "127.0.0.1:1", {}),
        (200, "LOCALHOST", {}),
        (200, "[::1]:8000", {}),
        (403, "evil.example", {}),
        (403, "localhost.evil.example:8000", {}),
        (403, "[", {}),
        (200, "shop.example", {"cors": "https://shop.example"}),
        (200, "evil.example", {"host": "0.0.0.0"}),
    ],
)
def test_hosts(status: int, host: str, fields: dict[str, str]) -> None:
    headers = {"origin": f"http://{host}", "host": host}
    assert status_of("POST", "/predict", {"number": 1}, fields=fields, **headers) == status


def test_keys(own_folder: Path) -> None:
    file = own_folder / "keys.json"
    key = add(file, "shop")
    keys, words = Keys(file), ("POST", "/predict", {"number": 1})
    assert status_of(*words, keys=keys) == 401
    assert status_of(*words, keys=keys, x_api_key=key + "x") == 401
    assert status_of(*words, f"api_key={key}", keys=keys) == 401
    assert status_of(*words, keys=keys, x_api_key="\u00ff") == 401
    assert status_of(*words, keys=keys, authorization=f"Basic {key}") == 401
    assert status_of(*words, keys=keys, x_api_key=key) == 200
    assert status_of(*words, keys=keys, authorization=f"bearer {key}") == 200
    for path in ("/healthz", "/readyz"):
        assert status_of("GET", path, keys=keys) == 200
    for path in ("/schema", "/openapi.json", "/metrics", "/nothing"):
        assert status_of("GET", path, keys=keys) == 401
    assert status_of("GET", "/healthz", keys=keys, fields={"metrics": "off"}) == 200
    assert status_of("GET", "/metrics", fields={"metrics": "off"}) == 404

    async def read_metrics(app: Any, service: Any) -> int:
        return (await ask(app, "GET", "/metrics")).status

    assert run(read_metrics, keys=keys, metrics="open") == 200


# === Load and failures ===


def test_a_full_queue_and_a_slow_model() -> None:
    may_end = threading.Event()
    model = EchoModel(work=lambda rows: may_end.wait())

    async def test(app: Any, service: Any) -> None:
        requests = [ask(app, "POST", "/predict", {"number": 1}) for _ in range(10)]
        answers = await asyncio.gather(*requests)
        may_end.set()
        statuses = [answer.status for answer in answers]
        assert statuses.count(503) >= 5
        assert {answer.headers["retry-after"] for answer in answers if answer.status == 503} == {
            "1"
        }
        assert 504 in statuses, "those that waited longer than they may"

    run(test, model, queue=4, max_rows=4, max_batch=1, timeout_s=0.3)


def test_nothing_is_answered_before_the_model_is_there() -> None:
    async def test(app: Any, service: Any) -> None:
        service.names = ["missing"]
        service.problem = "The model is being loaded."
        answer = await ask(app, "POST", "/predict", {"number": 1})
        assert (answer.status, answer.json()["error"]) == (503, "The model is being loaded.")
        ready = await ask(app, "GET", "/readyz")
        assert (ready.status, ready.json()["status"]) == (503, "not ready")
        assert (await ask(app, "GET", "/healthz")).status == 200

    run(test)


def test_a_failure_tells_and_logs_nothing_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def fail(rows: Any) -> None:
        raise ValueError(f"cannot work with {rows}")

    async def test(app: Any, service: Any) -> None:
        answer = await ask(app, "POST", "/predict", {"number": SECRET})
        assert answer.status == 500
        assert SECRET not in answer.body.decode()

    caplog.set_level(logging.INFO)
    for logger in (request_log.requests, request_log.events):
        logger.propagate = True
        logger.addHandler(caplog.handler)
    run(test, EchoModel(work=fail))
    lines = [request_log.JsonFormatter().format(record) for record in caplog.records]
    for logger in (request_log.requests, request_log.events):
        logger.removeHandler(caplog.handler)
    text = "\n".join(lines)
    assert SECRET not in text
    assert "Traceback" not in text
    assert "ValueError at test_app.py:" in text


# === What is said of it ===


def test_a_line_for_each_request_without_what_was_sent() -> None:
    records = list[logging.LogRecord]()
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    request_log.requests.addHandler(handler)
    request_log.requests.setLevel("INFO")

    async def test(app: Any, service: Any) -> None:
        await ask(app, "POST", "/models/echo/predict", [{"number": SECRET}] * 2, "explain=true")
        await ask(app, "GET", f"/{SECRET}")

    run(test)
    request_log.requests.removeHandler(handler)
    lines = [json.loads(request_log.JsonFormatter().format(record)) for record in records]
    assert SECRET not in json.dumps(lines)
    first = lines[0]
    assert first["path"] == "/models/{name}/predict"
    assert (first["status"], first["rows"], first["model"]) == (200, 2, "echo/1")
    assert 0 <= first["milliseconds"] < 10_000
    assert lines[1]["path"] == "(none)"


def test_metrics() -> None:
    async def test(app: Any, service: Any) -> str:
        for number in range(150):
            await ask(app, "POST", "/predict", {"number": number})
        await ask(app, "POST", "/predict", {})
        return (await ask(app, "GET", "/metrics")).body.decode()

    text = run(test)
    assert 'requests_total{method="POST",path="/predict",status="200"} 150.0' in text
    assert 'predictions_total{model="echo",prediction="7"} 1.0' in text
    assert 'predictions_total{model="echo",prediction="(others)"} 50.0' in text
    assert 'wrong_rows_total{model="echo"} 1.0' in text
    assert 'model_info{model="echo",version="1"} 1.0' in text
    assert 'batch_rows_count{model="echo"} 151.0' in text
    assert 'queue_rows{model="echo"} 0.0' in text


def test_schema_and_openapi_have_true_examples() -> None:
    async def test(app: Any, service: Any) -> None:
        schema = (await ask(app, "GET", "/schema")).json()["models"]
        assert [model["name"] for model in schema] == ["echo", "second"]
        assert (schema[0]["notice"], schema[0]["explains"]) == ("Not for patients.", True)
        document = (await ask(app, "GET", "/openapi.json")).json()
        assert "/models/second/predict" in document["paths"]
        post = document["paths"]["/predict"]["post"]
        row = post["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
        answer = post["responses"]["200"]["content"]["application/json"]["examples"]["one"]
        assert (await ask(app, "POST", "/predict", row)).json().items() >= answer["value"].items()

    run(test, EchoModel(), EchoModel(name="second"))


def test_a_new_model_takes_over_without_a_lost_request() -> None:
    begun, may_end = list[Any](), threading.Event()

    def work(rows: Sequence[Any]) -> None:
        begun.extend(rows)
        may_end.wait()

    async def test(app: Any, service: Any) -> None:
        requests = [
            asyncio.create_task(ask(app, "POST", "/predict", {"number": 1})) for _ in range(20)
        ]
        await until(lambda: len(begun) + service._lanes["echo"].waiting == 20)
        service.put(EchoModel(version="2"))
        may_end.set()
        requests += [
            asyncio.create_task(ask(app, "POST", "/predict", {"number": 1})) for _ in range(20)
        ]
        answers = [await request for request in requests]
        assert {answer.status for answer in answers} == {200}
        versions = [answer.headers["x-model"] for answer in answers]
        assert versions == ["echo/1"] * 20 + ["echo/2"] * 20
        text = (await ask(app, "GET", "/metrics")).body.decode()
        assert 'version="2"' in text
        assert 'version="1"' not in text

    run(test, EchoModel(work=work), max_batch=4)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the hook for answers is called with."""
    calls = list[Any]()

    def keep(config: Any, model: Any, requests: Any, answers: Any) -> None:
        calls.append(answers)
        time.sleep(0.05)

    monkeypatch.setattr(serving, "find_hooks", lambda name: [keep])
    return calls


def test_hooks_also_get_batches_without_a_right_row(hook: list[Any]) -> None:
    async def test(app: Any, service: Any) -> None:
        await ask(app, "POST", "/predict", {})
        await until(lambda: hook)

    run(test)
    assert hook == [[]]


def test_rows_that_wait_for_hooks_are_bounded(hook: list[Any]) -> None:
    async def test(app: Any, service: Any) -> str:
        for _ in range(20):
            await ask(app, "POST", "/predict", [{"number": 1}] * 2)
        return (await ask(app, "GET", "/metrics")).body.decode()

    text = run(test, max_batch=2)
    dropped = float(text.split('dropped_rows_total{model="echo"} ')[1].split()[0])
    assert 2 * (20 - len(hook) - 8) <= dropped < 2 * 20


def test_repeats_are_neither_counted_nor_noted(hook: list[Any]) -> None:
    async def test(app: Any, service: Any) -> str:
        (answer,) = await service.answer("echo", [{"number": 7}], is_repeat=True)
        assert answer["prediction"] == "7"
        return (await ask(app, "GET", "/metrics")).body.decode()

    assert 'prediction="7"' not in run(test)
    assert not hook


def test_while_it_drains_it_answers_and_is_not_ready() -> None:
    async def test(app: Any, service: Any) -> None:
        service.is_draining = True
        assert (await ask(app, "GET", "/readyz")).status == 503
        answer = await ask(app, "POST", "/predict", {"number": 1})
        assert (answer.status, answer.headers["connection"]) == (200, "close")

    run(test)
