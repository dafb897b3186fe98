"""Fields of runs that train a smaller model; see ``engine/extensions.py``."""

from pydantic import Field

from ..config_fields import Section


class CompressFields(Section):
    """Smaller models: pruned, or taught by a larger one."""

    sparsity: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of each kernel's weights that are set to zero, the smallest ones, and "
        "stay so; with train.init_from",
    )
    teacher: str | None = Field(
        None,
        description="a run (latest, an id) or an MLflow model URI, whose outputs are learnt beside "
        "the labels; without train.init_from",
    )
    teacher_weight: float = Field(
        0.5, gt=0, le=1, description="share of the teacher's outputs in the loss"
    )
    temperature: float = Field(
        2.0, ge=1, le=100, description="logits are divided by it where the teacher is compared"
    )


SECTIONS = {"compress": CompressFields}
TRAINING = ("compress",)  # of them those that ``train`` reads
