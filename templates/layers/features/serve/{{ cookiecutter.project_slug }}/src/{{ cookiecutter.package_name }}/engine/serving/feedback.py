"""Feedback on predictions: ``POST /feedback``, only where ``serve.feedback`` names a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool

from .feedback_files import FeedbackFiles, Opinion
from .problems import Refused, load_json


class Feedback(BaseModel):
    """What is sent.

    Attributes:
        model: name of the model; None: the first.
        verdict: whether the answer was right.
        prediction: the answer that is meant.
        answer: what would have been right, one of the ``scores`` of the answer.
        row: what was asked.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    verdict: Literal["up", "down"]
    prediction: str | None = None
    answer: str | None = None
    row: dict[str, Any] | None = None


def router(service: Any) -> APIRouter:
    """Return the routes of feedback.

    Args:
        service: its ``fields`` name the folder; its ``answer`` says whether a verdict can be true.
    """
    routes = APIRouter()
    folder = service.fields.feedback
    files = FeedbackFiles(Path(folder)) if folder else None

    @routes.get("/feedback")
    async def is_kept() -> dict[str, bool]:
        """Say whether feedback is kept, and whether nothing but the verdict is."""
        private = any(model.task.has_private_examples for model in service.models.values())
        return {"enabled": files is not None, "verdictOnly": private}

    content = {"application/json": {"schema": Feedback.model_json_schema()}}

    @routes.post("/feedback", openapi_extra={"requestBody": {"content": content}})
    async def keep(request: Request) -> dict[str, bool]:
        """Keep whether an answer was right, and what would have been."""
        if files is None:
            raise Refused(404, "This service keeps no feedback: serve.feedback names no folder.")
        feedback = _parse(request.headers.get("content-type", ""), await request.body())
        model = service.find(feedback.model)
        if model.task.has_private_examples:
            _check_private(feedback)
            await run_in_threadpool(files.keep_verdict, model, feedback.verdict)
        else:
            answer = await _answer_again(service, model, feedback)
            opinion = Opinion(
                row=dict(feedback.row or {}),
                prediction=str(answer["prediction"]),
                is_right=feedback.verdict == "up",
                answer=feedback.answer,
            )
            await run_in_threadpool(files.keep, model, opinion)
        return {"kept": True}

    return routes


def _parse(content_type: str, body: bytes) -> Feedback:
    # Pages of other origins cannot send this type without asking first, which CORS refuses.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Feedback is application/json.")
    content = load_json(body)
    try:
        return Feedback.model_validate(content)
    except ValidationError as error:
        # Not its text, which repeats what was sent.
        place = error.errors(include_input=False)[0]["loc"]
        field = str(place[0]) if place and place[0] in Feedback.model_fields else None
        named = f"{field} is not what it should be" if field else "it is no such object"
        raise Refused(
            422,
            f"Feedback: {named}; it has model, verdict (up or down), prediction, answer and row.",
            field,
        ) from None


def _check_private(feedback: Feedback) -> None:
    """Refuse what must not even be looked at."""
    if feedback.row or feedback.answer or feedback.prediction:
        raise Refused(
            422, "Only model and verdict are kept where inputs are of patients: send no more."
        )


async def _answer_again(service: Any, model: Any, feedback: Feedback) -> Mapping[str, Any]:
    """Return the answer that is meant, so that nothing is kept which the model never said."""
    if not feedback.row:
        raise Refused(422, "Feedback needs the row that was asked.", "row")
    (answer,) = await service.answer(model.name, [feedback.row], is_repeat=True)
    if "error" in answer:
        raise Refused(422, str(answer["error"]), "row")
    if feedback.prediction not in (None, answer["prediction"]):
        raise Refused(409, "The model has changed since it gave this answer; ask again.")
    if feedback.answer is not None and feedback.answer not in answer.get("scores", ()):
        raise Refused(422, "The right answer must be one of those that the model knows.", "answer")
    return answer
