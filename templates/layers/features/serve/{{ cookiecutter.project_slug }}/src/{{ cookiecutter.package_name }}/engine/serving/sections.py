"""Fields of the service. Must not import TensorFlow."""

from typing import Literal

from pydantic import Field, model_validator

from ..config_fields import Section

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # hosts that only this machine reaches


class ServeFields(Section):
    """How predictions are served."""

    host: str = Field("127.0.0.1", description="address to listen at; 0.0.0.0: all of the machine")
    port: int = Field(8000, ge=0, le=65535, description="port to listen at; 0: a free one")
    max_batch: int = Field(32, ge=1, description="most rows that a model predicts at once")
    queue: int = Field(
        256, ge=1, description="rows of a model that may wait; further requests are refused (503)"
    )
    max_rows: int = Field(128, ge=1, description="most rows of a request; at most serve.queue")
    max_body_mb: float = Field(16, gt=0, description="largest body of a request, in megabytes")
    timeout_s: float = Field(30, gt=0, description="seconds after which an answer is given up")
    read_s: float = Field(10, gt=0, description="seconds in which a client must send its request")
    drain_s: float = Field(
        1.5, ge=0, description="seconds between not being ready and taking no more connections"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of an operation of TensorFlow; unset: half of the cores"
    )
    keys_file: str = Field(
        "", description="file of API keys, see `serve keys add NAME`; empty: no key is asked for"
    )
    metrics: Literal["open", "key", "off"] = Field(
        "key", description="who may read /metrics: anyone, those with a key where there are keys"
    )
    cors: str = Field(
        "", description="origins, separated by commas, whose pages may call the service"
    )
    follow: bool = Field(
        False, description="take a new model when the alias moves, or a newer run is there"
    )
    follow_seconds: float = Field(30, gt=0, description="seconds between two looks for a new model")
    feedback: str = Field(
        "", description="folder for feedback on predictions; empty: nothing is kept"
    )
    log_level: Literal["info", "warning"] = Field(
        "info", description="warning: no line for each request"
    )

    @model_validator(mode="after")
    def _fits(self) -> "ServeFields":
        if self.max_rows > self.queue:
            raise ValueError(f"max_rows {self.max_rows} must be at most queue {self.queue}")
        return self


SECTIONS = {"serve": ServeFields}
