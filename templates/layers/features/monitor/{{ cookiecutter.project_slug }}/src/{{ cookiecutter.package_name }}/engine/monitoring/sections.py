"""Fields that this feature adds to the configuration."""

from pydantic import Field

from ..config_fields import Section


class MonitorFields(Section):
    """What a service keeps of its requests, to be compared with the training data."""

    samples: str | None = Field(
        None, description="folder for features of requests, never the inputs; unset: none are kept"
    )
    rate: float = Field(1.0, gt=0, le=1, description="share of the requests that are kept")
    max_mb: float = Field(
        64, gt=0, description="megabytes that a process keeps of a model; the oldest are dropped"
    )


SECTIONS = {"monitor": MonitorFields}
SERVING = ("monitor",)  # of them those that ``serve`` reads
