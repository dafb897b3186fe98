"""A real browser that opens pages, with the network off or with one service."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

WIDTHS = (360, 1280)  # of a phone and of a laptop, in pixels
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",  # a camera that shows a clock
    "--use-fake-ui-for-media-stream",  # and is allowed
)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """Open a file and yield its page; whatever it asks for or complains of fails the test."""
    with open_browser() as browser, _open_tab(browser, width, scheme, offline=True) as page:
        problems = _note_problems(page)
        page.on("request", lambda request: problems.append(request.url))
        page.goto(file.resolve().as_uri())
        yield page
        asked = [text for text in problems if not text.startswith("data:")]
        assert asked == [file.resolve().as_uri()]


@contextmanager
def open_site(
    browser: Browser,
    address: str,
    width: int = 1280,
    scheme: str = "light",
    allowed: Collection[str] = (),
    respond: Callable[[Route], None] | None = None,
    **options: Any,
) -> Iterator[Page]:
    """Open a page of a service and yield it once it has a form.

    It fails if anything goes elsewhere, or if the browser complains, as it does of whatever breaks
    the content security policy.

    Args:
        browser: that of all tests.
        address: of the page; all requests must begin with it.
        width: of the window.
        scheme: light or dark.
        allowed: beginnings of complaints that are expected.
        respond: answers requests, or lets them pass, in the place of the service.
        options: of the browser's context.
    """
    with _open_tab(browser, width, scheme, **options) as page:
        problems, asked = _note_problems(page), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        if respond:
            page.route(f"{address}**", respond)
        page.goto(address)
        yield page
        assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []
        assert [text for text in problems if not text.startswith(tuple(allowed))] == []


@contextmanager
def _open_tab(browser: Browser, width: int, scheme: str, **options: Any) -> Iterator[Page]:
    viewport = {"width": width, "height": 900}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
    yield context.new_page()
    context.close()


def _note_problems(page: Page) -> list[str]:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
    return problems


def find_faults(page: Page) -> list[str]:
    """Return what axe finds inaccessible, and whether the page is wider than the window."""
    faults = [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in Axe().run(page).response["violations"]
    ]
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    if overflow := page.evaluate(wider):
        faults.append(f"{overflow} pixels too wide")
    return faults
