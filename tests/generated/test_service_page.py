"""The page of a service in a real browser: each template, its states, and what it sends."""

import base64
import csv
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from aistart.catalog import find_templates
from tests.environments import project_python
from tests.generated.browser import WIDTHS, find_faults, open_browser, open_site
from tests.generated.servers import free_port, wait_for
from tests.generated.services import (
    HOST,
    RunningService,
    environment,
    make_project,
    make_trained,
    serving,
)

pytestmark = [pytest.mark.slow, pytest.mark.minutes(8), pytest.mark.xdist_group("service_page")]

TEMPLATES = [name for name in find_templates() if name != "language-model"]  # test_chat_page.py
REFUSED = "Failed to load resource: the server responded with a status of 4"  # says the browser
HOSTILE = '<img src=x onerror="alert(1)">\u202e=cmd()'
DRAWN = {  # what an explanation shows
    "vision-classifier": ".heatmap canvas",
    "text-classifier": ".marks mark",
    "recommender": ".contributions .bar",
    "medical-diagnosis": ".contributions .bar",
}
# The page without a model: what the service says comes from the test.
ONLY_PAGE = """
import sys, uvicorn, fastapi
from demo.engine.serving import page
app = fastapi.FastAPI()
app.include_router(page.router(None))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with open_browser() as opened:
        yield opened


# === The page of each template, with its service ===


@pytest.fixture(scope="module", params=TEMPLATES)
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator["Service"]:
    """The service of each template, which keeps feedback."""
    folder = tmp_path_factory.mktemp("feedback")
    with serving(make_trained(request.param), "--serve.feedback", str(folder)) as running:
        yield Service(request.param, running, folder)


class Service:
    """A running service with the page of a template."""

    def __init__(self, template: str, running: RunningService, feedback: Path) -> None:
        self.template, self.running, self.feedback = template, running, feedback
        self.address = f"http://{HOST}:{running.port}/"
        example = running.ask("GET", "/models/demo/examples").json()[0]
        # As the page sends it: with no more digits than anybody reads.
        self.row = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in example.items()
        }
        self.answer = running.post(self.row).json()


def ask_example(page: Page) -> None:
    """Fill in an example and wait for its answer."""
    page.click("#example")
    page.click("#predict")
    expect(page.locator(".drawn-answer")).to_be_visible(timeout=60_000)


def test_examples_are_true(service: Service) -> None:
    rows = service.running.ask("GET", "/models/demo/examples").json()
    assert all(answer.get("scores") for answer in service.running.post(rows).json())
    schema = service.running.ask("GET", "/schema").json()["models"][0]["schema"]
    from_data = service.template in ("vision-classifier", "text-classifier")
    assert (
        (len(rows) == 4 and rows != schema["examples"]) if from_data else rows == schema["examples"]
    )


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, ("light", "dark"), strict=True)])
def test_an_example_is_answered_and_explained(
    service: Service, browser: Browser, width: int, scheme: str
) -> None:
    answer = service.answer
    with open_site(browser, service.address, width, scheme) as page:
        expect(page.locator(".field").first).to_be_visible()
        assert find_faults(page) == []
        ask_example(page)
        shown = page.locator(".drawn-answer")
        values = [float(one.get_attribute("value")) for one in shown.locator("data").all()]
        scores = sorted(answer["scores"].values(), reverse=True)[:10]
        assert values[: 1 if "risk" in answer else 10] or scores == []
        for score in [answer["risk"]] if "risk" in answer else scores:
            assert min(abs(score - value) for value in values) < 1e-5, (score, values)
        expect(shown).to_contain_text(answer["prediction"])
        expect(page.locator("#status")).to_contain_text(f"Answer: {answer['prediction']}")
        expect(page.locator(DRAWN[service.template]).first).to_be_visible()
        assert find_faults(page) == []
        if "notice" in answer:
            expect(page.locator("#notice")).to_have_text(answer["notice"])
            expect(page.locator("#notice")).to_be_in_viewport()


def test_opinions_are_kept(service: Service, browser: Browser) -> None:
    with open_site(browser, service.address) as page:
        ask_example(page)
        page.get_by_role("button", name="No, wrong").click()
        if service.template != "medical-diagnosis":
            page.select_option("#correction", index=2)
            right = page.locator("#correction option:checked").inner_text()
            page.get_by_role("button", name="Send").click()
        expect(page.locator(".feedback")).to_contain_text("Thank you.")
    folder = service.feedback / "demo"
    (line,) = (folder / "verdicts.jsonl").read_text().splitlines()
    verdict = json.loads(line)
    if service.template == "medical-diagnosis":
        assert set(verdict) == {"day", "model", "version", "verdict"}
        assert [path.name for path in folder.iterdir()] == ["verdicts.jsonl"]
        return
    assert (verdict["verdict"], verdict["answer"]) == ("down", right)
    (table,) = folder.glob("*.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    if service.template == "vision-classifier":
        assert row["label"] == right
        assert (folder / row["path"]).read_bytes() == base64.b64decode(service.row["image"])
    elif service.template == "text-classifier":
        assert row == {"text": service.row["text"], "label": right}
    else:
        assert (row["user"], row["item"]) == (service.row["user"], right)


def test_curl_asks_the_same(service: Service, browser: Browser, tmp_path: Path) -> None:
    with open_site(browser, service.address) as page:
        ask_example(page)
        page.get_by_role("button", name="Copy as curl").click()
        command = page.locator(".curl pre").inner_text()
    if "image" in service.row:
        (tmp_path / "image").write_bytes(base64.b64decode(service.row["image"]))
    words = ["bash", "-c", f"{command} --silent"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["prediction"] == service.answer["prediction"]


@pytest.mark.parametrize("service", ["vision-classifier"], indirect=True)
def test_what_the_service_refuses_stands_beside_the_field(
    service: Service, browser: Browser
) -> None:
    with open_site(browser, service.address, allowed=[REFUSED]) as page:
        damaged = {"name": "a.png", "mimeType": "image/png", "buffer": b"\x89PNG no image"}
        page.set_input_files("#field-image", damaged)
        page.click("#predict")
        expect(page.locator("#field-image-error")).not_to_be_empty()
        assert find_faults(page) == []


# === The page alone, with answers of the test ===


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Address of the page without a model."""
    project, port = make_project(TEMPLATES[0]), free_port()
    words = [str(project_python()), "-c", ONLY_PAGE, str(port)]
    process = subprocess.Popen(words, cwd=project, env=environment(project))
    address = f"http://{HOST}:{port}/"
    wait_for(lambda: _answers(address), "the page")
    yield address
    process.kill()
    process.wait()


def _answers(address: str) -> bool:
    return subprocess.run(["curl", "-sf", "-o", "/dev/null", address], check=False).returncode == 0


def describe_model(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A model of ``/schema`` whose rows have some properties."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    example = more.pop("example", None)
    schema["examples"] = [example] if example else []
    return {"name": "demo", "version": "1", "notice": "", "explains": True, "schema": schema} | more


TEXT = describe_model(
    {"text": {"type": "string", "title": "Text", "contentMediaType": "text/plain"}},
    example={"text": "It's fine"},
)
ANSWER = {"prediction": "good", "scores": {"good": 0.75, "bad": 0.25}}


class Stub:
    """Answers in the place of a service.

    Args:
        models: of ``/schema``.
        answer: to every row; one with ``error`` is a refusal.
        key: that each request needs; '' for none.
    """

    def __init__(self, *models: dict[str, Any], answer: Any = ANSWER, key: str = "") -> None:
        self.models, self.answer, self.key = models or (TEXT,), answer, key
        self.rows: list[Any] = []  # that were sent, as (path, row)

    def __call__(self, route: Route) -> None:
        """Answer a request; the page and its files are let pass."""
        path = "/".join(route.request.url.split("/")[3:])
        if path == "" or path.startswith("page/"):
            route.continue_()
        elif self.key and route.request.headers.get("authorization") != f"Bearer {self.key}":
            route.fulfill(status=401, json={"error": "The API key is missing."})
        elif path == "schema":
            route.fulfill(json={"models": self.models})
        elif path.endswith("/examples"):
            route.fulfill(json=self.models[0]["schema"]["examples"])
        elif path == "feedback":
            route.fulfill(json={"enabled": False, "verdictOnly": False})
        else:
            self.rows.append((path, route.request.post_data_json))
            route.fulfill(json=self.answer, status=422 if "error" in self.answer else 200)


def test_headers_of_the_page(site: str) -> None:
    for name in ("", "page/main.js", "page/style.css"):
        words = ["curl", "-sD", "-", "-o", "/dev/null", site + name]
        headers = subprocess.run(words, capture_output=True, text=True, check=True).stdout.lower()
        policy = re.search("content-security-policy: (.*)", headers)
        assert policy
        assert "default-src 'none'" in policy[1]
        assert "unsafe" not in policy[1]
        assert "frame-ancestors 'none'" in policy[1]
        assert "x-content-type-options: nosniff" in headers
        assert "referrer-policy: no-referrer" in headers
        assert "cache-control: no-cache" in headers
        tag = re.search('etag: (".*")', headers)
        assert tag
        words = [*words, "-H", f"If-None-Match: {tag[1]}"]
        again = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert again.startswith("HTTP/1.1 304")
    for name in ("page/__init__.py", "page/..%2f..%2fapp.py", "page/../keys.py"):
        words = ["curl", "-s", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", site + name]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "404"


def test_the_keyboard_is_enough(site: str, browser: Browser) -> None:
    stub = Stub()
    with open_site(browser, site, respond=stub) as page:
        expect(page.locator("#field-text")).to_be_visible()
        page.focus("#language")
        page.keyboard.press("Tab")
        expect(page.locator("#field-text")).to_be_focused()
        page.keyboard.type("typed")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".prediction")).to_contain_text("good 75.0%")
        for wanted in ("#explain", "#predict", "#example"):
            page.keyboard.press("Tab")
            expect(page.locator(wanted)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#field-text")).to_have_value("It's fine")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#history-list li")).to_have_count(2)
    assert stub.rows == [
        ("models/demo/predict?explain=true", {"text": text}) for text in ("typed", "It's fine")
    ]


def test_every_sign_of_others_is_text(site: str, browser: Browser) -> None:
    answer = {
        "prediction": HOSTILE,
        "scores": {HOSTILE: 0.9, "猫": 0.1},
        "explanation": {
            "target": HOSTILE,
            "score": 0.9,
            "method": HOSTILE,
            "summary": HOSTILE,
            "error": 0.5,
            "parts": [{"text": HOSTILE, "value": 1.5}, {"text": "</p>", "value": -0.5}],
        },
    }
    field = {"type": "string", "title": HOSTILE, "description": HOSTILE}
    model = describe_model(
        {"text": field | {"contentMediaType": "text/plain"}, HOSTILE: field | {"enum": [HOSTILE]}},
        example={"text": HOSTILE, HOSTILE: HOSTILE},
        notice=HOSTILE,
        version=HOSTILE,
    )
    with open_site(browser, site, respond=Stub(model, model, answer=answer)) as page:
        ask_example(page)
        page.get_by_role("button", name="Copy as curl").click()
        assert page.locator("img").count() == 0
        for place in ("#notice", ".prediction", ".marks", ".bars li", ".label", "#history-list"):
            expect(page.locator(place).first).to_contain_text(HOSTILE)
        assert find_faults(page) == []
    stub = Stub(model, answer={"error": f"text: {HOSTILE}", "field": "text"})
    with open_site(browser, site, respond=stub, allowed=[REFUSED]) as page:
        page.click("#example")
        page.click("#predict")
        expect(page.locator("#field-text-error")).to_have_text(HOSTILE)
        expect(page.locator("#field-text")).to_be_focused()
        assert page.locator("#field-text").get_attribute("aria-invalid") == "true"


def test_predict_waits_for_an_example_that_is_on_its_way(site: str, browser: Browser) -> None:
    stub, held = Stub(), []

    def respond(route: Route) -> None:
        if route.request.url.endswith("/examples"):
            held.append(route)
        else:
            stub(route)

    with open_site(browser, site, respond=respond) as page:
        page.click("#example")
        page.click("#predict")
        wait_for(lambda: page.wait_for_timeout(20) or held, "the request for examples")
        held[0].fulfill(json=TEXT["schema"]["examples"])
        expect(page.locator(".drawn-answer")).to_be_visible()
        assert len(stub.rows) == 1
        assert "It's fine" in str(stub.rows[0])


def test_a_form_says_what_is_wrong(site: str, browser: Browser) -> None:
    age = {"type": "integer", "title": "Age", "minimum": 0, "maximum": 120, "x-unit": "years"}
    smoker = {"type": ["string", "null"], "enum": ["yes", "no", None]}
    visit = {"type": "string", "format": "date"}
    stub = Stub(describe_model({"age": age, "smoker": smoker, "visit": visit}))
    with open_site(browser, site, respond=stub) as page:
        page.fill("#field-age", "130")
        page.click("#predict")
        expect(page.locator("#field-age-error")).to_have_text("At most 120 years.")
        expect(page.locator("#field-visit-error")).to_have_text("This is needed.")
        expect(page.locator("#field-age")).to_be_focused()
        assert find_faults(page) == []
        page.fill("#field-age", "13.5")
        page.click("#predict")
        expect(page.locator("#field-age-error")).to_have_text("Enter a whole number.")
        page.fill("#field-age", "13")
        page.fill("#field-visit", "2026-01-31")
        page.click("#predict")
        expect(page.locator(".prediction")).to_be_visible()
    row = {"age": 13, "smoker": None, "visit": "2026-01-31"}
    assert stub.rows == [("models/demo/predict?explain=true", row)]


def test_a_history_is_built_from_suggestions(site: str, browser: Browser) -> None:
    history = {"type": "array", "items": {"type": "string", "examples": ["a", "b"]}}
    answer = {"prediction": "x", "scores": {"x": -1.5, "y": -2.5}}
    model = describe_model({"user": {"type": "string"}, "history": history}, explains=False)
    model["schema"]["required"] = []
    stub = Stub(model, answer=answer)
    with open_site(browser, site, respond=stub) as page:
        page.click("#predict")
        expect(page.locator("#field-user-error")).to_have_text("Fill in something first.")
        page.get_by_role("button", name="+ b").click()
        page.fill("#field-history", "z")
        page.keyboard.press("Enter")
        page.click("#predict")
        expect(page.locator(".ranking li")).to_have_count(2)
        page.get_by_role("button", name="+ y").click()
        page.get_by_role("button", name="Remove b").click()
        page.click("#predict")
        expect(page.locator("#history-list li")).to_have_count(2)
    assert [row for _, row in stub.rows] == [{"history": ["b", "z"]}, {"history": ["z", "y"]}]


def test_a_picture_is_taken(site: str, browser: Browser) -> None:
    field = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
    model = describe_model({"image": field})
    with open_site(browser, site, respond=Stub(model), permissions=["camera"]) as page:
        page.get_by_role("button", name="Take a picture").click()
        expect(page.locator("#shutter")).to_be_enabled()
        assert find_faults(page) == []
        page.click("#shutter")
        expect(page.locator(".drop img")).to_be_visible()
        expect(page.locator(".drop .hint").first).to_contain_text("pixels")


def test_a_key_is_asked_for(site: str, browser: Browser) -> None:
    with open_site(browser, site, respond=Stub(key="secret"), allowed=[REFUSED]) as page:
        expect(page.locator("#key-dialog")).to_be_visible()
        assert find_faults(page) == []
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-error")).to_have_text("The service does not know this key.")
        page.fill("#key", "secret")
        page.keyboard.press("Enter")
        ask_example(page)
        kept = "[localStorage.length, document.cookie, sessionStorage.getItem('api-key')]"
        assert page.evaluate(kept) == [0, "", "secret"]


def test_models_are_chosen_by_name(site: str, browser: Browser) -> None:
    stub = Stub(TEXT, TEXT | {"name": "b c", "explains": False})
    with open_site(browser, site, respond=stub) as page:
        page.select_option("#model", "b c")
        ask_example(page)
        page.click("#forget")
        expect(page.locator("#history")).to_be_hidden()
    assert [path for path, _ in stub.rows] == ["models/b%20c/predict"]


def test_chinese(site: str, browser: Browser) -> None:
    notice = "Not a medical device: for research and development, not for decisions about patients."
    stub = Stub(TEXT | {"notice": notice})
    with open_site(browser, site, respond=stub, locale="zh-CN") as page:
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        expect(page.locator("#notice")).to_contain_text("非医疗器械")
        page.fill("#field-text", "保留")
        page.get_by_role("button", name="预测").click()
        expect(page.locator(".drawn-answer")).to_contain_text("概率")
        page.get_by_role("button", name="English").click()
        expect(page.locator("#predict")).to_have_text("Predict")
        expect(page.locator("#field-text")).to_have_value("保留")
        expect(page.locator(".drawn-answer")).to_contain_text("Probabilities")
        page.reload()
        expect(page.locator("#predict")).to_have_text("Predict")


def test_languages_have_the_same_texts() -> None:
    folder = next(make_project(TEMPLATES[0]).glob("src/*/engine/serving/page"))
    tables = re.findall(r"const (?:en|zh) = {(.*?)\n};", (folder / "texts.js").read_text(), re.S)
    names = [re.findall(r"^  (\w+):", table, re.M) for table in tables]
    assert len(names) == 2
    assert names[0] == names[1]
    files = "".join(path.read_text() for path in folder.iterdir() if path.name != "texts.js")
    assert [name for name in names[0] if f'"{name}"' not in files] == ["name"]


def test_nothing_moves_for_those_who_want_that(site: str, browser: Browser) -> None:
    with open_site(browser, site, respond=Stub(), reduced_motion="reduce") as page:
        ask_example(page)
        bar = page.locator(".bar").first
        assert bar.evaluate("bar => getComputedStyle(bar).animationName") == "none"
