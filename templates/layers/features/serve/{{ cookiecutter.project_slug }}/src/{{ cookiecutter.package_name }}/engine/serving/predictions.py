"""The routes for predictions and for what there is to know of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from .batcher import Answer
from .bodies import read_rows
from .problems import Refused, json_response
from .service import Service

if TYPE_CHECKING:
    from .models import LoadedModel

PARAMETERS = {"explain"}


def router(service: Service) -> APIRouter:
    """Return the routes ``/predict``, ``/models/{name}/predict`` and ``/schema``."""
    routes = APIRouter(tags=["predictions"])

    @routes.post("/predict", summary="Predict with the first model")
    async def predict(request: Request, explain: bool = False) -> Response:
        return await _predict(service, None, request, explain)

    @routes.post("/models/{name}/predict", summary="Predict with a model by name")
    async def predict_by_name(name: str, request: Request, explain: bool = False) -> Response:
        return await _predict(service, name, request, explain)

    @routes.get("/schema", summary="What the models are asked")
    async def schema() -> Response:
        return json_response({"models": [describe(m) for m in service.models.values()]})

    return routes


def describe(model: LoadedModel) -> dict[str, Any]:
    """Return what a client needs to know of a model."""
    return {
        "name": model.name,
        "version": model.version,
        "title": model.schema.get("title", model.name),
        "notice": model.task.notice,
        "explains": model.explains,
        "schema": model.schema,
    }


async def _predict(service: Service, name: str | None, request: Request, explain: bool) -> Response:
    if not PARAMETERS.issuperset(request.query_params):
        raise Refused(422, f"The only parameter of the URL is {', '.join(PARAMETERS)}.")
    body = await request.body()
    model = service.find(name)  # now: another version may have come with the body
    rows, is_array = await read_rows(request.headers, body, model.schema)
    answers = await service.answer(model.name, rows, explain)
    if is_array:
        status = 422 if all("error" in answer for answer in answers) else 200
        return json_response(answers, status)
    if "error" in answers[0]:
        raise _refuse(answers[0], model)
    return json_response(answers[0])


def _refuse(answer: Answer, model: LoadedModel) -> Refused:
    """Return a wrong row as a refusal, with the field that its message begins with."""
    text = str(answer["error"])
    field = text.partition(":")[0]
    return Refused(422, text, field if field in model.schema["properties"] else None)
