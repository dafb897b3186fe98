"""Fields of chats and completions. Must not import TensorFlow."""

from pydantic import Field

from ..config_fields import Section


class ChatFields(Section):
    """How a service writes chats and completions."""

    slots: int = Field(
        32, ge=1, le=1024, description="requests that are written at once; each has its own cache"
    )
    queue: int = Field(
        256, ge=1, description="requests of a model that may wait; further ones are refused (503)"
    )
    per_key: int | None = Field(
        None,
        ge=1,
        description="requests of an API key that may wait or be written at once; further ones are "
        "refused (429); unset: any number",
    )
    max_tokens: int = Field(
        1024, ge=1, description="most tokens of an answer; requests may ask for fewer"
    )
    timeout_s: float = Field(
        120, gt=0, description="seconds after which an answer ends where it is, queue included"
    )
    drain_s: float = Field(
        20, ge=0, description="seconds that answers have left once the service is to stop"
    )


SECTIONS = {"chat": ChatFields}
SERVING = ("chat",)
