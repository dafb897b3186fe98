"""OpenAPI of a service: the models' own schemas, with a true example of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .bodies import FORM, JSON
from .service import Service

if TYPE_CHECKING:
    from .models import LoadedModel

TEMPLATE = "/models/{name}/predict"
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
    "required": ["error"],
}
PROBLEMS = {
    "401": "The API key is missing or not valid.",
    "413": "The body is too large, or has too many rows.",
    "415": "The content type is not one of those above, or the body is compressed.",
    "422": "No row is right.",
    "503": "The service is busy, or not ready; Retry-After says when to ask again.",
}


def describe(app: FastAPI, service: Service) -> dict[str, Any]:
    """Return the OpenAPI document of the models that are loaded now.

    Args:
        app: with all its routes.
        service: whose models are described.
    """
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    paths = document["paths"]
    template = paths.pop(TEMPLATE)["post"]
    models = list(service.models.values())
    if models:
        paths["/predict"]["post"] |= _describe_prediction(models[0])
    for model in models:
        parameters = [p for p in template["parameters"] if p["in"] != "path"]
        own = {"operationId": f"predict_{model.name}", "summary": f"Predict with {model.name}"}
        operation = template | {"parameters": parameters} | own | _describe_prediction(model)
        paths[f"/models/{model.name}/predict"] = {"post": operation}
    document.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document


def _describe_prediction(model: LoadedModel) -> dict[str, Any]:
    row, answer = model.example
    schema = {name: part for name, part in model.schema.items() if name != "examples"}
    content: dict[str, Any] = {
        JSON: {
            "schema": {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]},
            "examples": {"one": {"value": row}, "several": {"value": [row, row]}},
        },
        FORM: {"schema": schema},
    }
    for field in schema["properties"].values():
        if kind := field.get("contentMediaType"):
            content[kind] = {"schema": {"type": "string", "format": "binary"}}
    one = {"type": "object"}
    answered = {
        "description": "An answer, or an array of them; a wrong row has an error in its place.",
        "headers": {"X-Model": {"schema": {"type": "string"}, "example": model.header}},
        "content": {
            JSON: {
                "schema": {"anyOf": [one, {"type": "array", "items": one}]},
                "examples": {"one": {"value": answer}, "several": {"value": [answer, answer]}},
            }
        },
    }
    problems = {
        status: {"description": text, "content": {JSON: {"schema": ERROR}}}
        for status, text in PROBLEMS.items()
    }
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answered, **problems},
    }
