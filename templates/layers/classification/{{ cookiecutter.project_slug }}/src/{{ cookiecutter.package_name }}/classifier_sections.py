"""The configuration fields that every classifier has."""

from typing import Annotated, Literal

from pydantic import Field

from .sections import NameIn, TrainSection


class ClassifierTrain(TrainSection):
    """How the model is trained."""

    loss: Annotated[str, NameIn("LOSSES")] = Field(
        "cross_entropy", description="what training minimises"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each target spread over all classes"
    )
    class_weights: Literal["auto", "none", "balanced"] = Field(
        "auto",
        description="weigh rare classes up; auto: balanced if the largest class has over 3 times "
        "the examples of the smallest",
    )
