"""Which objectives a stage may have."""

from ops.training.faitheir_objective import FaithEirObjective
from ops.training.objective import ObjectiveModule
from ops.training.settings import Objective
from ops.training.tadm_objectives import (
    AutoencoderObjective,
    DenoiserObjective,
    GenerationObjective,
    JointObjective,
    RescalingObjective,
)

OBJECTIVES: dict[Objective, type[ObjectiveModule]] = {
    "autoencoder": AutoencoderObjective,
    "denoiser": DenoiserObjective,
    "rescaling": RescalingObjective,
    "generation": GenerationObjective,
    "joint": JointObjective,
    "faitheir": FaithEirObjective,
}
