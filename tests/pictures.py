"""Take the pictures of the examples' READMEs: pages in a browser, reduced to at most 150 KB.

python -m tests.pictures report FILE PICTURE [--height 900] [--only ID …]
python -m tests.pictures page ADDRESS PHOTO PICTURE
"""

import argparse
import subprocess
from pathlib import Path

from playwright.sync_api import Page

from tests.environments import project_python
from tests.generated.browser import open_browser

MAX_BYTES = 150_000
WIDTH = 1000  # of the window, in pixels


# In the projects' environment, which has Pillow.
REDUCE = """
import sys
from pathlib import Path
from PIL import Image
file, most = Path(sys.argv[1]), int(sys.argv[2])
image = Image.open(file).convert("RGB")
for colours in (256, 128, 64, 32):
    image.quantize(colours, dither=Image.Dither.NONE).save(file, optimize=True)
    if file.stat().st_size <= most:
        break
print(f"{file}: {image.width} x {image.height}, {colours} colours, {file.stat().st_size:,} bytes")
sys.exit(file.stat().st_size > most)
"""


def save(screenshot: bytes, picture: Path) -> None:
    """Save a screenshot with as many colours as the limit allows.

    Raises:
        subprocess.CalledProcessError: it is too large with 32 colours; clip it.
    """
    picture.write_bytes(screenshot)
    command = [str(project_python()), "-c", REDUCE, str(picture), str(MAX_BYTES)]
    subprocess.run(command, check=True)


def take_report(page: Page, options: argparse.Namespace) -> bytes:
    """Return the beginning of a report, or of some of its sections."""
    page.goto(options.source.resolve().as_uri())
    if options.only:
        others = "".join(f":not(#{name})" for name in options.only)
        page.add_style_tag(content=f"section{others} {{ display: none }}")
    return page.screenshot()


def take_service_page(page: Page, options: argparse.Namespace) -> bytes:
    """Return the page of a service with the answer to a photo."""
    page.goto(str(options.source))
    page.set_input_files("#field-image", options.photo)
    page.click("#predict")
    page.locator(".drawn-answer").wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    return page.screenshot()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    report = kinds.add_parser("report")
    report.add_argument("source", type=Path)
    report.add_argument("--only", nargs="+", default=(), help="ids of sections; leave out others")
    report.set_defaults(take=take_report)
    service = kinds.add_parser("page")
    service.add_argument("source", help="address of the service")
    service.add_argument("photo", type=Path)
    service.set_defaults(take=take_service_page)
    for kind in (report, service):
        kind.add_argument("picture", type=Path)
        kind.add_argument("--height", type=int, default=900)
        kind.add_argument("--scale", type=float, default=2, help="pixels of the picture for one")
    options = parser.parse_args()
    with open_browser() as browser:
        viewport = {"width": WIDTH, "height": options.height}
        page = browser.new_page(viewport=viewport, device_scale_factor=options.scale)
        save(options.take(page, options), options.picture)


if __name__ == "__main__":
    main()
