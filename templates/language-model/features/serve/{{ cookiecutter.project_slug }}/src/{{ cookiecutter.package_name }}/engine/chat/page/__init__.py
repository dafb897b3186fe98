"""The page for chats at ``/``, in the place of the form for predictions.

It shares style, words and the dialog for keys with the page in ``engine/serving/page``.
"""

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from ...serving.page import read_files

FOLDER = Path(__file__).parent


def router() -> APIRouter:
    """Return the routes of the page; it asks the service over HTTP alone."""
    files, routes = read_files(FOLDER), APIRouter(include_in_schema=False)

    @routes.get("/")
    async def page(request: Request) -> Response:
        return files["index.html"].answer(request)

    @routes.get("/page/chat/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "The page has no such file.")
        return files[name].answer(request)

    return routes
