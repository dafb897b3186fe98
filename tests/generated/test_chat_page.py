"""The page for chats in a real browser: streams, stop, settings, refusals, keyboard."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.environments import project_python
from tests.generated.browser import WIDTHS, find_faults, open_browser, open_site
from tests.generated.servers import free_port, wait_for
from tests.generated.services import HOST, environment, make_project, make_trained, serving

pytestmark = [pytest.mark.slow, pytest.mark.minutes(4), pytest.mark.xdist_group("chat_page")]

REFUSED = "Failed to load resource: the server responded with a status of 4"  # says the browser
HOSTILE = '<img src=x onerror="alert(1)">\u202e=cmd()'
# The service with models that write words, as the project's own tests have them.
WORDS = """
import asyncio, socket, sys
from demo.engine.serving.app import create_app
from demo.engine.serving.keys import Keys
from demo.engine.serving.server import make_server
from pathlib import Path
from tests.serving.chat_models import WordWriter, WritingModel, make_chat_service

async def main():
    port, keys = int(sys.argv[1]), Keys(Path(sys.argv[2])) if sys.argv[2:] else None
    models = [
        WritingModel(WordWriter(pace=0.03, context=900), "chat"),
        WritingModel(WordWriter(pace=0.03, context=500, has_chat=False), "text"),
        WritingModel(WordWriter(pace=0.03, version="<img src=x onerror=alert(1)>"), "small"),
    ]
    for model in models:
        model.schema = {"type": "object", "title": "Text", "properties": {}}
        model.schema["examples"] = [{"prompt": "Once upon a time"}]
    service = make_chat_service(*models, serve={"port": port})
    listening = socket.create_server(("127.0.0.1", port))
    await make_server(create_app(service, keys), service).serve(sockets=[listening])
    await service.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Address of a page with models that write words."""
    yield from serve_words()


def serve_words(*words: str) -> Iterator[str]:
    """Serve models that write words; yield the address."""
    project, port = make_project("language-model"), free_port()
    own = environment(project)
    own["PYTHONPATH"] += f":{project}"
    command = [str(project_python()), "-c", WORDS, str(port), *words]
    process = subprocess.Popen(command, cwd=project, env=own)
    address = f"http://{HOST}:{port}/"
    try:
        wait_for(lambda: _answers(address), "the page")
        yield address
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    return subprocess.run(["curl", "-sf", "-o", "/dev/null", address], check=False).returncode == 0


def send(page: Page, text: str) -> None:
    """Write a message and send it with the keyboard."""
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def wait_for_end(page: Page) -> None:
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)


def note_bodies(page: Page) -> list[Any]:
    """Note the bodies that the page sends from now on."""
    bodies: list[Any] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            bodies.append(request.post_data_json)

    page.on("request", note)
    return bodies


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, ("light", "dark"), strict=True)])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_chat_comes_piece_by_piece(
    site: str, browser: Browser, width: int, scheme: str, locale: str
) -> None:
    with open_site(browser, site, width, scheme, locale=locale) as page:
        expect(page.locator("#model")).to_have_value("chat")
        assert find_faults(page) == []
        page.click("summary")
        page.fill("#max-tokens", "40")
        page.fill("#system", "Be brief.")
        page.fill("#seed", "5")
        page.fill("#temperature", "0")
        assert find_faults(page) == []
        page.click("summary")
        bodies = note_bodies(page)
        send(page, "Hello,\nwho are you?")
        answer = page.locator(".turn.assistant .text").first
        expect(answer).to_contain_text("one two")
        assert len(answer.inner_text().split()) < 40, "it comes while it is written"
        assert find_faults(page) == []
        wait_for_end(page)
        assert len(answer.inner_text().split()) == 40
        expect(page.locator("#prompt")).to_be_focused()
        expect(page.locator("#status")).not_to_be_empty()
        assert find_faults(page) == []
        send(page, "And again?")
        wait_for_end(page)
        expect(page.locator(".turn")).to_have_count(4)
        page.click("#language")
        assert find_faults(page) == []
    assert bodies[0] == {
        "model": "chat",
        "temperature": 0,
        "max_tokens": 40,
        "seed": 5,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello,\nwho are you?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    roles = [message["role"] for message in bodies[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_an_answer_is_stopped_and_tried_again(site: str, browser: Browser) -> None:
    with open_site(browser, site) as page:
        send(page, "Hello")
        expect(page.locator(".turn.assistant .text")).to_contain_text("one two")
        page.get_by_role("button", name="Stop").click()
        wait_for_end(page)
        expect(page.locator(".turn.assistant .note")).to_have_text("Stopped.")
        expect(page.locator("#status")).to_contain_text("Stopped.")
        before = page.locator(".turn.assistant .text").inner_text()
        page.wait_for_timeout(300)
        assert page.locator(".turn.assistant .text").inner_text() == before
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".turn.assistant .text")).to_contain_text("one two")
        expect(page.locator(".turn")).to_have_count(2)
        page.get_by_role("button", name="New chat").click()
        expect(page.locator(".turn")).to_have_count(0)
        expect(page.locator("#empty")).to_be_visible()


def test_the_keyboard_is_enough(site: str, browser: Browser) -> None:
    with open_site(browser, site) as page:
        expect(page.locator("#model")).to_have_value("chat")
        page.focus("#language")
        page.keyboard.press("Tab")
        expect(page.locator("#prompt")).to_be_focused()
        page.keyboard.type("first")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("second")
        page.keyboard.press("Tab")
        expect(page.locator("#send")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".turn.you .text")).to_have_text("first\nsecond")
        expect(page.locator(".turn.assistant .text")).to_contain_text("one")
        page.focus("#prompt")
        page.keyboard.press("Tab")
        expect(page.locator("#stop")).to_be_focused()
        page.keyboard.press("Enter")
        wait_for_end(page)


def test_a_text_is_continued(site: str, browser: Browser) -> None:
    with open_site(browser, site) as page:
        page.select_option("#model", "text")
        expect(page.locator("#send")).to_have_text("Continue")
        page.click("summary")
        expect(page.locator("#system")).to_be_hidden()
        page.fill("#max-tokens", "3")
        page.click("#example")
        expect(page.locator("#prompt")).to_have_value("Once upon a time")
        bodies = note_bodies(page)
        page.click("#send")
        wait_for_end(page)
        expect(page.locator(".continuation .text")).to_have_text("one two three ")
        expect(page.locator(".continuation .note")).to_contain_text("3 tokens")
        assert find_faults(page) == []
        page.get_by_role("button", name="Go on from here").click()
        expect(page.locator("#prompt")).to_have_value("Once upon a timeone two three ")
    assert bodies[0]["prompt"] == "Once upon a time"


def test_what_is_wrong_is_said(site: str, browser: Browser) -> None:
    with open_site(browser, site, allowed=[REFUSED]) as page:
        expect(page.locator("#model")).to_have_value("chat")
        page.click("#send")
        expect(page.locator("#form-error")).to_have_text("Write something first.")
        page.click("summary")
        page.fill("#temperature", "3")
        send(page, "Hello")
        expect(page.locator("#form-error")).to_contain_text("Temperature")
        expect(page.locator("#temperature")).to_be_focused()
        page.fill("#temperature", "1")
        send(page, "x" * 1_000)
        expect(page.locator("#form-error")).to_contain_text("longer than the model can read (900")
        expect(page.locator("#prompt")).to_have_value("x" * 1_000)
        expect(page.locator(".turn")).to_have_count(0)
        send(page, "a\x07b")
        expect(page.locator("#form-error")).to_contain_text("U+0007")
        assert find_faults(page) == []


def test_every_sign_of_others_is_text(site: str, browser: Browser) -> None:
    with open_site(browser, site) as page:
        page.select_option("#model", "small")
        page.click("summary")
        page.fill("#max-tokens", "2")
        send(page, HOSTILE)
        wait_for_end(page)
        expect(page.locator(".turn.you .text")).to_have_text(HOSTILE)
        expect(page.locator(".turn.assistant .text")).to_contain_text("<img src=x")
        assert page.locator("img").count() == 0
        assert find_faults(page) == []


def test_a_key_is_asked_for(browser: Browser) -> None:
    project = make_project("language-model")
    own = environment(project)
    words = ["-m", "demo", "serve", "keys", "add", "page", "--file", "page-keys.json"]
    command = [str(project_python()), *words]
    (project / "page-keys.json").unlink(missing_ok=True)
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True, check=True)
    for address in serve_words("page-keys.json"):
        with open_site(browser, address, allowed=[REFUSED]) as page:
            expect(page.locator("#key-dialog")).to_be_visible()
            assert find_faults(page) == []
            page.fill("#key", "wrong")
            page.keyboard.press("Enter")
            expect(page.locator("#key-error")).to_have_text("The service does not know this key.")
            page.fill("#key", done.stdout.strip())
            page.keyboard.press("Enter")
            expect(page.locator("#model")).to_have_value("chat")
            send(page, "Hello")
            expect(page.locator(".turn.assistant .text")).to_contain_text("one")


def test_a_trained_model_writes(browser: Browser) -> None:
    with (
        serving(make_trained("language-model")) as running,
        open_site(browser, f"http://{HOST}:{running.port}/") as page,
    ):
        page.click("#example")
        expect(page.locator("#prompt")).not_to_have_value("")
        page.click("summary")
        page.fill("#max-tokens", "20")
        page.click("#send")
        wait_for_end(page)
        expect(page.locator(".turn .note").last).to_contain_text("tokens")
        assert find_faults(page) == []


def test_languages_have_the_same_texts() -> None:
    folder = next(make_project("language-model").glob("src/*/engine/chat/page"))
    tables = re.findall(
        r"^  (?:en|zh): {(.*?)\n  },", (folder / "words.js").read_text(), re.M | re.S
    )
    names = [re.findall(r"^    (\w+):", table, re.M) for table in tables]
    assert len(names) == 2
    assert names[0] == names[1]
    files = "".join(path.read_text() for path in folder.iterdir() if path.name != "words.js")
    assert [name for name in names[0] if f'"{name}"' not in files] == []
