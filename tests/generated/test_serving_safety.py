"""A service against clients that are hostile, broken, slow or too many.

All tests share one process; it must live through all of them within bounds of memory.
"""

import base64
import gzip
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.generated import services
from tests.generated.services import HOST, Load, RunningService, serving

pytestmark = [pytest.mark.slow, pytest.mark.minutes(2), pytest.mark.xdist_group("serving_safety")]

READ_SECONDS = 3.0
BODY_MEGABYTES = 4
FIELDS = [
    *("--serve.read_s", str(READ_SECONDS), "--serve.max_body_mb", str(BODY_MEGABYTES)),
    *("--serve.keys_file", "keys.json", "--serve.queue", "64", "--serve.max_rows", "64"),
]
MORE_MEGABYTES = 250  # than after the first requests


def make_png(width: int, height: int, compressed: bytes | None = None) -> bytes:
    """Return a grey PNG; ``compressed`` replaces its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    pixels = compressed or zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


PNG = make_png(8, 8)
ROW = {"image": base64.b64encode(PNG).decode()}


class Client:
    """Asks the service with its key."""

    def __init__(self, service: RunningService, key: str) -> None:
        self.service, self.key = service, key

    def post(self, body: Any, kind: str = "application/json", **headers: str) -> services.Answer:
        """Send a body to ``/predict``; what is not bytes becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = {"X_API_Key": self.key, "Content_Type": kind, **headers}
        return self.service.ask("POST", "/predict", content, **own)

    def refuse(self, status: int, body: Any, kind: str = "application/json", **headers: str) -> str:
        """Send a body that must be refused with a sentence, and return that."""
        answer = self.post(body, kind, **headers)
        assert answer.status == status, answer.body[:500]
        text = str(answer.json()["error"])
        assert "/" not in text.replace("application/json", "").replace("form-data", "") or (
            "image/*" in text
        ), text
        assert "Traceback" not in text
        assert self.post(ROW).status == 200, "it lives"
        return text

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection((HOST, self.service.port), timeout=30)

    def head(self, *lines: str) -> bytes:
        """Return the head of a request to ``/predict`` that is not finished."""
        first = ["POST /predict HTTP/1.1", f"Host: {HOST}", f"X-API-Key: {self.key}"]
        return "\r\n".join([*first, "Content-Type: application/json", *lines, ""]).encode()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    project = services.make_trained("vision-classifier")
    made = services.call(project, "serve", "keys", "add", "tests", "--file", "keys.json")
    assert made.returncode == 0, made.stderr
    assert (project / "keys.json").stat().st_mode & 0o077 == 0
    with serving(project, *FIELDS) as service:
        client = Client(service, made.stdout.strip())
        for _ in range(50):
            assert client.post(ROW).status == 200
        before = service.megabytes()
        yield client
        assert service.megabytes() - before < MORE_MEGABYTES
        log = service.log()
        assert client.key not in log
        assert "Traceback" not in log
        assert str(project) not in log
        assert ROW["image"] not in log


# === Bodies ===


def test_bodies_that_are_too_large(client: Client) -> None:
    large = b" " * (BODY_MEGABYTES * 1_000_000 + 1)
    assert "at most 4 megabytes" in client.refuse(413, large)
    # Without a declared length, and without an end.
    connection = client.connect()
    connection.sendall(client.head("Transfer-Encoding: chunked", ""))
    chunk = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            connection.sendall(chunk)
    except OSError:
        pass  # the service has left
    assert time.monotonic() < deadline
    connection = client.connect()
    connection.sendall(client.head("Content-Length: 99999999999999999999", "Expect: x", ""))
    assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_compressed_bodies(client: Client) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert "compressed" in client.refuse(415, bomb, Content_Encoding="gzip")


def test_images_that_are_too_large_or_damaged(client: Client) -> None:
    small = zlib.compressobj()
    bomb = small.compress(bytes(30_000_000)) + small.flush()
    assert "megapixels" in client.refuse(422, make_png(10_000, 10_000, bomb), "image/png")
    client.refuse(422, make_png(2**31 - 1, 2**31 - 1, bomb), "image/png")
    client.refuse(422, make_png(0, 0), "image/png")
    whole = make_png(300, 300)
    for content in (whole[:60], whole[:20], whole[:-30], b"", b"GIF89a", b"\xff\xd8\xff\xe0"):
        client.refuse(422, content, "image/png")
    half = client.post([{"image": base64.b64encode(whole[:60]).decode()}, ROW])
    assert half.status == 200
    assert "error" in half.json()[0]
    assert half.json()[1]["prediction"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"{"),
        (400, b'{"image": NaN}'),
        (400, b"\xff\xfe"),
        (400, b"[" * 50_000),
        (413, b"[" * 1_000_000),
        (400, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        (422, []),
        (422, "text"),
        (422, {"image": [1, 2]}),
        (422, {"image": "not base64!"}),
        (422, {"image": 1e300}),
        (422, {**ROW, "file": "/etc/passwd"}),
        (422, {"image": None}),
        (413, [ROW] * 65),
    ],
)
def test_json_that_is_wrong(client: Client, status: int, body: Any) -> None:
    client.refuse(status, body)


def test_content_types_and_forms(client: Client) -> None:
    for kind in ("text/csv", "application/x-www-form-urlencoded", "image", "\u00e4", 'a/b;=;"'):
        client.refuse(415, b"image=1", kind.encode().decode("latin-1"))
    client.refuse(400, b"--X\r\n\r\n", "multipart/form-data")
    client.refuse(422, b"--X--\r\n", "multipart/form-data; boundary=X")
    parts = b"".join(
        b'--X\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % number
        for number in range(5_000)
    )
    client.refuse(400, parts + b"--X--\r\n", "multipart/form-data; boundary=X")


# === Slow clients ===


def seconds_until_closed(connection: socket.socket) -> tuple[float, bytes]:
    """Return how long the service holds a connection, and what it says."""
    start, said = time.monotonic(), b""
    try:
        while part := connection.recv(10_000):
            said += part
    except ConnectionResetError:
        pass
    return time.monotonic() - start, said


def test_slow_clients_are_left_and_others_are_answered(client: Client) -> None:
    def trickle(connection: socket.socket) -> None:
        try:
            for _ in range(100):
                connection.sendall(b"X-a: b\r\n")
                time.sleep(0.2)
        except OSError:
            pass

    silent = [client.connect() for _ in range(100)]
    slow_head, slow_body = client.connect(), client.connect()
    slow_head.sendall(client.head())
    threading.Thread(target=trickle, args=(slow_head,), daemon=True).start()
    slow_body.sendall(client.head("Content-Length: 1000", "") + b"{")
    assert client.post(ROW).status == 200
    held, said = seconds_until_closed(slow_head)
    assert (held < READ_SECONDS + 3, said) == (True, b"")
    held, said = seconds_until_closed(slow_body)
    assert held < READ_SECONDS + 3
    assert said.startswith(b"HTTP/1.1 408")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]
    for connection in silent:
        assert seconds_until_closed(connection)[0] < READ_SECONDS + 3


def test_what_is_no_http(client: Client) -> None:
    for content in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n", b"A" * 100_000):
        connection = client.connect()
        connection.sendall(content + b"\r\n\r\n")
        said = seconds_until_closed(connection)[1]
        assert said == b"" or said.startswith(b"HTTP/1.1 4")
        assert b"Traceback" not in said
    # Two lengths: a proxy in front may see another request than the service does.
    connection = client.connect()
    lengths = ("Content-Length: 5", "Transfer-Encoding: chunked", "")
    connection.sendall(client.head("Content-Length: 6", *lengths) + b"{}")
    assert seconds_until_closed(connection)[1][:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408")
    assert client.post(ROW).status == 200


# === Keys, origins, names ===


def test_keys(client: Client) -> None:
    ask = client.service.ask
    for path in ("/healthz", "/readyz", "/"):
        assert ask("GET", path).status == 200
    wrong = client.key[:-1] + ("A" if client.key[-1] != "A" else "B")
    for headers in (
        {},
        {"X_API_Key": wrong},
        {"Authorization": f"Bearer {wrong}"},
        {"Cookie": "a"},
    ):
        answer = client.service.post(ROW, **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert client.service.post(ROW, f"/predict?key={client.key}").status == 401
    for path in ("/schema", "/metrics", "/openapi.json", "/v2/models/demo/infer"):
        assert ask("GET", path).status == 401
    assert client.service.post(ROW, Authorization=f"Bearer {client.key}").status == 200


def test_other_origins_and_names(client: Client) -> None:
    client.refuse(403, ROW, Origin="https://evil.example")
    preflight = client.service.ask(
        "OPTIONS", "/predict", Origin="https://evil.example", Access_Control_Request_Method="POST"
    )
    assert preflight.status == 403
    assert "access-control-allow-origin" not in preflight.headers
    names = ("..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%00", "x%0d%0aX-Evil:%201", "a" * 5000)
    for name in names:
        answer = client.service.post(ROW, f"/models/{name}/predict", X_API_Key=client.key)
        assert answer.status in (400, 404), name
        assert "x-evil" not in answer.headers
        assert b"passwd" not in answer.body
    for path in ("/page/../../../etc/passwd", "/page/..%2f..%2fapp.py", "//etc/passwd"):
        assert client.service.ask("GET", path, X_API_Key=client.key).status == 404


# === Too many ===


def test_ten_times_more_than_it_can_serve(client: Client) -> None:
    lines = f"application/json\r\nX-API-Key: {client.key}"
    body = json.dumps([ROW] * 2).encode()
    with Load(client.service.port, "/predict", lines, body, clients=320, limit=3200) as load:
        load.wait()
    assert set(load.outcomes) == {"200", "503"}, load.outcomes
    assert load.outcomes["200"] >= 32
    assert load.outcomes["503"] >= 32
    # 64 rows wait at most: a few batches, whatever the others do.
    assert sorted(load.seconds)[int(0.99 * len(load.seconds))] < 5
    assert client.post(ROW).status == 200
