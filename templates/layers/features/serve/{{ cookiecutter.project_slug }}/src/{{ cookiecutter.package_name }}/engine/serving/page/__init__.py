"""The page at ``/``: files of this folder, which talk to the service as any other client does.

It needs no build step and no library, and asks nothing of any other server.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from ..examples import find_examples

FOLDER = Path(__file__).parent
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",  # previews of images that were dropped
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",  # nothing may make HTML of a text
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asks each time whether it has changed
}


@dataclass(frozen=True)
class File:
    """A file of the page.

    Attributes:
        content: its bytes.
        headers: type, version, and what a browser may do with it.
    """

    content: bytes
    headers: dict[str, str]

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 if the browser has it already."""
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def read_files(folder: Path = FOLDER) -> dict[str, File]:
    """Return the files of the page by name."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in KINDS:
            content = path.read_bytes()
            version = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            own = {"Content-Type": KINDS[path.suffix], "ETag": version}
            files[path.name] = File(content, HEADERS | own)
    return files


def router(service: Any) -> APIRouter:
    """Return the routes of the page.

    Args:
        service: whose models have examples; the page asks it over HTTP alone.
    """
    files, routes = read_files(), APIRouter(include_in_schema=False)

    @routes.get("/models/{name}/examples")
    async def examples(name: str) -> list[dict[str, Any]]:
        model = service.find(name)
        return find_examples(model.artifact.attachments, model.schema)

    @routes.get("/")
    async def page(request: Request) -> Response:
        return files["index.html"].answer(request)

    @routes.get("/page/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "The page has no such file.")
        return files[name].answer(request)

    return routes
