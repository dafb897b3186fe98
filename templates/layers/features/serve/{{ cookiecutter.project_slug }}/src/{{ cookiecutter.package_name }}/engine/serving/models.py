"""A model that is ready to answer: loaded, compiled and warm."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..artifact import Artifact, load
from ..errors import DataProblem
from ..interfaces import Requests, Split, Task
from ..requests import decode_bytes
from .batcher import Answer
from .fast_path import Predict, make_predict
from .row_checks import WrongRow
from .sources import Files


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory: whatever happens to its file, its answers stay the same.

    Attributes:
        name: by which requests name it.
        version: id of the run or version in the registry.
        config: of the model's run.
        schema: JSON Schema of a row, see ``Task.request_schema``.
        predict: a split -> outputs.
        example: a row and the model's answer to it.
        registered_name: in the registry; '' for a run.
    """

    name: str
    version: str
    artifact: Artifact
    config: Any
    schema: dict[str, Any]
    predict: Predict
    example: tuple[dict[str, Any], Answer] = field(default=({}, {}))
    registered_name: str = ""

    @property
    def task(self) -> Task:
        return self.artifact.task

    @property
    def explains(self) -> bool:
        return self.task.explain is not None

    @property
    def header(self) -> str:
        """Name and version, as they may stand in a header."""
        return f"{self.name}/{re.sub(r'[^A-Za-z0-9._-]', '_', self.version)}"

    def answer(
        self, rows: Sequence[Mapping[str, Any]], explain: bool = False
    ) -> tuple[Requests, list[Answer], list[Answer]]:
        """Answer rows as ``predict`` does.

        Args:
            rows: as JSON gives them; binary fields in base64 or as bytes.
            explain: add ``explanation`` to each.

        Returns:
            The rows that are right with what is wrong with the others, the answers to the right
            ones, and an answer or ``{"error": …}`` for each row.
        """
        requests = self.read(rows)
        answers = list[Answer]()
        if len(requests.split):
            answers = self._answer(requests.split)
            if explain:
                self.artifact.add_explanations(requests.split, answers)
        right, problems = iter(answers), requests.problems
        merged = [
            {"error": problems[position]} if position in problems else next(right)
            for position in range(len(rows))
        ]
        return requests, answers, merged

    def _answer(self, split: Split) -> list[Answer]:
        if self.task.respond is not None:
            return self.task.respond(self.artifact, split, self.config)
        return self.task.decode_predictions(self.predict(split), self.artifact.preprocessing)

    def read(self, rows: Sequence[Any]) -> Requests:
        """Return rows as the task reads them.

        Args:
            rows: as JSON gives them; binary fields in base64 or as bytes.
        """
        decoded, problems = dict[int, Any](), dict[int, str]()
        for position, row in enumerate(rows):
            try:
                if isinstance(row, WrongRow):
                    raise DataProblem(row.problem)
                if not isinstance(row, Mapping):
                    raise DataProblem("A row must be an object.")
                decoded[position] = decode_bytes(row, self.schema)
            except DataProblem as error:
                problems[position] = str(error)
        places = list(decoded)
        requests = self.task.read_requests(
            list(decoded.values()), self.artifact.preprocessing, self.config
        )
        problems |= {places[place]: text for place, text in requests.problems.items()}
        return Requests(requests.split, problems)


def load_model(name: str, files: Files, task: Task, config: Any, max_batch: int) -> LoadedModel:
    """Load a model and predict some batches with it, so that the first request finds it warm.

    Args:
        name: by which requests name it.
        files: of the model.
        task: of the project.
        config: of the model's run.
        max_batch: largest batch.

    Raises:
        DataProblem: the file is no model of this project, is damaged, or not what the run wrote.
    """
    artifact = load(files.model_file, task)
    if files.weights_sha256 and artifact.weights_sha256() != files.weights_sha256:
        raise DataProblem("model file: it was changed after the run had written it.")
    preprocessing = artifact.preprocessing
    schema = task.request_schema(preprocessing)

    def predict_slowly(split: Split) -> Any:
        return artifact.predict_split(split, max_batch)

    model = LoadedModel(name, files.version, artifact, config, schema, predict_slowly)
    row, splits = _read_examples(model)
    model = replace(model, registered_name=files.registered_name)
    if task.respond is None:
        model = replace(model, predict=make_predict(artifact, splits, max_batch))
        size = 1
        while size < max_batch:
            model.answer([row] * size)
            size *= 2
        model.answer([row] * max_batch)
    return replace(model, example=(row, model.answer([row])[1][0]))


def _read_examples(model: LoadedModel) -> tuple[dict[str, Any], list[Split]]:
    """Return the first example of the schema that is right, and all that are, as splits of two.

    Examples may need what is not at hand where the model is served, such as histories of users.

    Raises:
        DataProblem: none is right.
    """
    examples = [(row, model.read([row] * 2)) for row in model.schema["examples"]]
    right = [(row, requests.split) for row, requests in examples if not requests.problems]
    if not right:
        problem = next(iter(examples[0][1].problems.values()))
        raise DataProblem(f"task.py: no example of request_schema is right: {problem}")
    return right[0][0], [split for _, split in right]
