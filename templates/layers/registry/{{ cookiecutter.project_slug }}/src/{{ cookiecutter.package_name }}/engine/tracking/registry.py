"""The model registry: versions of a model, and the alias of the one that is in use.

The alias moves only from the version that the caller knows: whoever comes second is told so. MLflow
has no such operation, so that moves exclude each other (``Registry.hold``).
"""

import contextlib
import logging
import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow.entities import RunInfo
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from sqlalchemy.engine import make_url

from ..config_fields import TrackingFields, without_password
from ..errors import DataProblem, ProjectError
from ..locks import try_lock
from . import tracking_uri
from .sender import PROBLEMS, connect, describe_problem, exclusive

log = logging.getLogger(__name__)

ALIAS = "champion"
PREDECESSORS = "champions_before"  # tag of a version: the champions before it, newest first
MOST_PREDECESSORS = 50

CLAIM = "moving_champion."  # tags of a registered model, one for each process that waits or moves
CLAIM_SECONDS = 120  # after which a process that holds a claim is taken for dead
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class ChampionChanged(ProjectError):
    """Another process has moved the alias."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes:
        run_name: of the run that trained it, which is the id of its folder.
        trained_at: when that run began; None: unknown.
        split_digests: split -> digest of the data that it was trained with, as far as known.
    """

    number: int
    run_id: str | None
    tags: Mapping[str, str]
    run_name: str = ""
    trained_at: datetime | None = None
    split_digests: Mapping[str, str] | None = None

    @property
    def predecessors(self) -> list[int]:
        """Return the champions before this one, newest first."""
        return [int(number) for number in re.findall(r"\d+", self.tags.get(PREDECESSORS, ""))]


@dataclass(frozen=True)
class StoredModel:
    """Files of a version: the model, the configuration of its run, and its inputs."""

    model_file: Path
    config_file: Path
    inputs: Mapping[str, str]  # column -> type


class Registry:
    """The versions of one registered model.

    Args:
        name: of the registered model.
        tracking: says where MLflow is.
    """

    def __init__(self, name: str, tracking: TrackingFields) -> None:
        self.name, self.uri = name, tracking_uri(tracking)
        with self._translate_errors(), exclusive(self.uri):
            connect(self.uri)
            self._client = mlflow.MlflowClient()
            self._client.search_registered_models(max_results=1)  # makes the tables of a database

    def find(self, number: int) -> Version | None:
        """Return a version with what is known of its run; None if there is none."""
        with self._translate_errors():
            try:
                found = self._client.get_model_version(self.name, str(number))
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise
            return self._with_run(found)

    def champion(self) -> Version | None:
        """Return the version behind the alias; None if there is no alias.

        Raises:
            ProjectError: somebody has deleted this version.
        """
        number = self.champion_number()
        if number is None:
            return None
        if (found := self.find(number)) is None:
            raise ProjectError(
                f"registry: the alias {ALIAS!r} of {self.name!r} is that of version {number}, "
                "which is deleted; take the alias away in MLflow."
            )
        return found

    def champion_number(self) -> int | None:
        """Return the number of the champion; None if there is none."""
        return self.number_behind(ALIAS)

    def number_behind(self, alias: str) -> int | None:
        """Return the number of the version behind an alias; None if there is none."""
        with self._translate_errors():
            try:
                aliases = self._client.get_registered_model(self.name).aliases
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise
        return int(aliases[alias]) if alias in aliases else None

    def fetch(self, version: Version, folder: Path) -> StoredModel:
        """Download the files of a version.

        Args:
            version: any version.
            folder: an empty one to download to.

        Raises:
            DataProblem: it is no model of a project like this one.
        """
        uri = f"models:/{self.name}/{version.number}"
        with self._translate_errors():
            root = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
            found = next(iter(sorted(root.rglob("model.keras"))), None)
            schema = Model.load(str(root)).get_input_schema()
        if found is None or not (found.parent / "config.yaml").is_file():
            raise DataProblem(f"{uri}: it holds no model of a project like this one.")
        columns = [] if schema is None else schema.to_dict()
        inputs = {str(column["name"]): str(column["type"]) for column in columns}
        return StoredModel(found, found.parent / "config.yaml", inputs)

    def move_champion(self, before: int | None, target: int, tags: Mapping[str, str]) -> None:
        """Give the alias to a version, unless another process has given it away meanwhile.

        Args:
            before: the number of the champion that the caller knows; None: there is none.
            target: the number of the version that becomes the champion.
            tags: for this version; written first, so that the champion always has its tags, and
                taken back if the alias does not move.

        Raises:
            ChampionChanged: the champion is another than ``before``.
            ProjectError: the store does not answer; the alias is where it was, or has moved.
        """
        with self.hold() as deadline:
            now = self.champion_number()
            if now != before:
                raise ChampionChanged(
                    f"registry: the champion of {self.name!r} is {_format_version(now)} by now and "
                    f"not {_format_version(before)}, so that nothing was moved; compare with it: "
                    "run this again."
                )
            earlier = self._read_tags(target)
            try:
                self.tag(target, tags)
                self._set_alias(target, deadline)
            except ProjectError as error:
                raise ProjectError(f"{error}{self._take_back(target, tags, earlier)}") from None

    def _set_alias(self, number: int, deadline: float) -> None:
        if time.time() > deadline:
            raise ProjectError(f"registry: {without_password(self.uri)}: too slow")
        with self._translate_errors():
            self._client.set_registered_model_alias(self.name, ALIAS, str(number))

    def _take_back(self, number: int, tags: Mapping[str, str], earlier: Mapping[str, str]) -> str:
        """Restore the tags of a version that has not become the champion.

        Returns:
            What is otherwise than before in words; nothing if all is as it was.
        """
        try:
            if self.champion_number() == number:  # only the answer was lost
                return f"; the champion is version {number} nevertheless"
            self.tag(number, {key: earlier[key] for key in tags if key in earlier})
            self._remove_tags(number, [key for key in tags if key not in earlier])
        except ProjectError:
            chain = earlier.get(PREDECESSORS)
            return (
                f"; unless version {number} of {self.name!r} is the champion by now, its tags "
                f"{', '.join(tags)} are wrong"
                + (f"; {PREDECESSORS} was {chain!r}" if chain is not None else "")
            )
        return ""

    def _read_tags(self, number: int) -> dict[str, str]:
        with self._translate_errors():
            return dict(self._client.get_model_version(self.name, str(number)).tags)

    def _remove_tags(self, number: int, keys: Sequence[str]) -> None:
        with self._translate_errors():
            for key in keys:
                self._client.delete_model_version_tag(self.name, str(number), key)

    def tag(self, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._translate_errors():
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, str(number), key, value)

    # === One process at a time ===

    @contextlib.contextmanager
    def hold(self) -> Iterator[float]:
        """Exclude other processes that move the alias of this model, until the time it yields.

        A file is locked beside a database that is a file. All others have tags of the registered
        model for it: see ``_hold_claim``.
        """
        if self.uri.startswith("sqlite"):
            database = Path(make_url(self.uri).database or "mlflow.db")
            with _lock(database.with_name(f"{database.name}-champion.lock")):
                yield math.inf
        else:
            with self._hold_claim() as deadline:
                yield deadline

    @contextlib.contextmanager
    def _hold_claim(self) -> Iterator[float]:
        """Exclude other processes by tags, of which the store can only write, read and delete one.

        This is Lamport's bakery (1974). A process writes a tag of its own with number 0: it is
        about to draw a number. It reads all tags, and writes one more than the highest number.
        Then it waits until no other tag has 0 or comes before its own by (number, name).

        Of two processes, let A be the one whose turn has come. If B wrote its 0 before A looked
        for the last time, A saw it and waited until B had a number, and that number comes after
        A's own. If B wrote its 0 later, it read A's number and drew a higher one. In both cases B
        waits until A's tag is gone. Reading all tags is one query of the database.

        The tag of a process that died counts for ``CLAIM_SECONDS``, which is much longer than
        requests may take; whoever was stopped for half of that moves nothing any more. So clocks
        of machines may differ by as much. Where the move was not answered, the tag stays for that
        time too: the request may still arrive, and must not undo what others did meanwhile.
        """
        key = f"{CLAIM}{uuid.uuid4().hex}"
        with self._translate_errors():
            self._write_claim(key, 0)
            number = 1 + max(self._read_claims().values(), default=0)
            deadline = self._wait_for_turn(key, number)
        try:
            yield deadline
        except ChampionChanged:
            self._withdraw(key)
            raise
        self._withdraw(key)

    def _wait_for_turn(self, key: str, number: int) -> float:
        """Return until when the claim counts, once it is the first."""
        deadline = time.time() + CLAIM_SECONDS / 2
        is_waiting = False
        while True:
            if time.time() > deadline:  # this process was stopped, and others may have passed it
                raise ProjectError("registry: the store is too slow; nothing was moved.")
            self._write_claim(key, number)  # again and again, so that it counts while it waits
            deadline = time.time() + CLAIM_SECONDS / 2
            others = [(n, name) for name, n in self._read_claims().items() if name != key]
            if not any(other[0] == 0 or other < (number, key) for other in others):
                return deadline
            if not is_waiting:
                log.warning("another process moves the champion of %s; waiting", self.name)
            is_waiting = True
            time.sleep(0.5)

    def _write_claim(self, key: str, number: int) -> None:
        value = f"{number} {time.time():.0f}"
        self._client.set_registered_model_tag(self.name, key, value)

    def _read_claims(self) -> dict[str, int]:
        """Return the numbers of all claims that count."""
        tags = self._client.get_registered_model(self.name).tags
        claims = {key: value.split() for key, value in tags.items() if key.startswith(CLAIM)}
        newest = time.time() - CLAIM_SECONDS
        return {key: int(number) for key, (number, at) in claims.items() if float(at) > newest}

    def _withdraw(self, key: str) -> None:
        """Delete a claim, and those of processes that died."""
        with contextlib.suppress(*PROBLEMS):
            tags = self._client.get_registered_model(self.name).tags
            counting = self._read_claims()
            for name in tags:
                if name == key or (name.startswith(CLAIM) and name not in counting):
                    self._client.delete_registered_model_tag(self.name, name)

    def _with_run(self, found: ModelVersion) -> Version:
        number, tags = int(found.version), dict(found.tags)
        if not found.run_id:
            return Version(number, None, tags)
        try:
            run = self._client.get_run(found.run_id)
        except MlflowException as error:
            if error.error_code in MISSING:  # somebody deleted it
                return Version(number, found.run_id, tags)
            raise
        digests = {
            tag.value: data.dataset.digest
            for data in (run.inputs.dataset_inputs if run.inputs else [])
            for tag in data.tags
            if tag.key == "mlflow.data.context"
        }
        name = run.info.run_name or ""
        return Version(number, found.run_id, tags, name, _read_time(name, run.info), digests)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn what MLflow raises into one line."""
        try:
            yield
        except PROBLEMS as error:
            reason = describe_problem(error, self.uri)
            raise ProjectError(f"registry: {without_password(self.uri)}: {reason}") from None


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold the lock on a file, which others hold for moments."""
    deadline = time.monotonic() + CLAIM_SECONDS
    while (lock := try_lock(file)) is None:
        if time.monotonic() > deadline:
            raise ProjectError(f"registry: another process holds {file}; run again.")
        time.sleep(0.1)
    with lock:
        yield


def _read_time(name: str, info: RunInfo) -> datetime | None:
    """Return when a run began: its folder is named by that; a replay begins in MLflow later."""
    if stamp := re.match(r"\d{8}-\d{6}", name):
        with contextlib.suppress(ValueError):
            return datetime.strptime(stamp[0], "%Y%m%d-%H%M%S")
    return datetime.fromtimestamp(info.start_time / 1000) if info.start_time else None


def _format_version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"
