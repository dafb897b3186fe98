"""A real browser that opens pages with the network off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

WIDTHS = (360, 1280)  # of a phone and of a laptop, in pixels
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@contextmanager
def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """Open a file and yield its page; whatever it asks for or complains of fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        page, problems = context.new_page(), []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(file.resolve().as_uri())
        yield page
        asked = [text for text in problems if not text.startswith("data:")]
        assert asked == [file.resolve().as_uri()]
        browser.close()


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
