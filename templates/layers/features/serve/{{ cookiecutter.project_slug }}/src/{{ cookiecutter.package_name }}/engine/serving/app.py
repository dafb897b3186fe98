"""The application: routes of this feature and of those that add some."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from .. import PROGRAM
from ..extensions import find_routers
from .guard import Guard, parse_origins
from .keys import Keys
from .problems import Refused, json_response
from .service import Service

# Modules of this package with a function ``router(service) -> APIRouter``, as far as they exist;
# before them come the routes of other features, see ``engine/extensions.py``.
ROUTERS = ("predictions", "protocol", "feedback", "page")


def create_app(service: Service, keys: Keys | None = None) -> FastAPI:
    """Return the application.

    Args:
        service: with the models, now or later.
        keys: who may ask; None: everybody.
    """
    app = FastAPI(title=PROGRAM, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, service=service, keys=keys)
    if origins := parse_origins(service.fields.cors):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["X-Model", "Retry-After"],
        )

    async def answer_refusal(request: Request, error: Any) -> Response:
        return service.refuse(request.url.path, error)

    async def answer_http(request: Request, error: Any) -> Response:
        texts = {404: "There is nothing at this path.", 405: "This path has no such method."}
        text = texts.get(error.status_code, str(error.detail))
        refusal = Refused(error.status_code, text, headers=error.headers)
        return service.refuse(request.url.path, refusal)

    async def answer_validation(request: Request, error: Any) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        text = f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}."
        return service.refuse(request.url.path, Refused(422, text, field))

    app.add_exception_handler(Refused, answer_refusal)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_validation)
    _add_own_routes(app, service)
    for make_router in find_routers():
        app.include_router(make_router(service))
    for name in ROUTERS:
        if find_spec(f"{__package__}.{name}"):
            module = import_module(f".{name}", __package__)
            if hasattr(module, "router"):
                app.include_router(module.router(service))
    return app


def _add_own_routes(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Whether the process lives", tags=["health"])
    async def healthz() -> Response:
        return json_response({"status": "alive"})

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Whether it answers now", tags=["health"])
    async def readyz() -> Response:
        versions = {model.name: model.version for model in service.models.values()}
        if service.is_ready:
            return json_response({"status": "ready", "models": versions})
        reason = "The service is shutting down." if service.is_draining else service.problem
        return json_response({"status": "not ready", "error": reason, "models": versions}, 503)

    if service.fields.metrics != "off":

        @app.get("/metrics", summary="Metrics for Prometheus", tags=["health"])
        async def metrics() -> Response:
            return Response(service.metrics.write(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        from .openapi import describe

        return json_response(describe(app, service))
