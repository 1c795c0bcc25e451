"""Few-step samplers by name, and whether one fits a checkpoint: by what its network was trained to predict."""

from dataclasses import dataclass, field
from typing import Any, Final

from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from training.checkpoints import is_flow
from training.command import Mistake

AUTO, OWN = "auto", "own"
FLOW: Final = "flow"
_NOISED: Final = frozenset({"epsilon", "v_prediction", "sample"})
_OWN_STEPS: Final = 50  # of most pipelines of diffusers


class SamplerError(Mistake):
    """A sampler does not fit the checkpoint; the message says why, and which do."""


@dataclass(frozen=True)
class Sampler:
    """predicts: what the network may have been trained to predict. steps: that do, by the paper that brought it."""

    scheduler: type[SchedulerMixin]
    predicts: frozenset[str]
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


SAMPLERS: Final[dict[str, Sampler]] = {
    "dpm++": Sampler(DPMSolverMultistepScheduler, _NOISED, 20, {"algorithm_type": "dpmsolver++"}),  # arXiv 2211.01095: 15 to 20
    "unipc": Sampler(UniPCMultistepScheduler, _NOISED, 15),  # arXiv 2302.04867: 5 to 15
    "ddim": Sampler(DDIMScheduler, _NOISED, 50),  # arXiv 2010.02502: 50 to 100
    "euler": Sampler(EulerDiscreteScheduler, _NOISED, 30),  # arXiv 2206.00364: 35 evaluations with its corrector
    "lcm": Sampler(LCMScheduler, _NOISED, 4),  # arXiv 2310.04378: 2 to 8
    "flow-euler": Sampler(FlowMatchEulerDiscreteScheduler, frozenset({FLOW}), 28),  # arXiv 2403.03206: 28 to 50
}


def predicts(scheduler: SchedulerMixin) -> str | None:
    """What the network of a checkpoint with this scheduler predicts: epsilon, v_prediction, sample or flow; None for any other kind."""
    config = scheduler.config
    if is_flow(scheduler):
        return FLOW
    # Schedules of betas are one family, whose samplers can stand in for each other; EDM's and consistency models' are not of it.
    return config.get("prediction_type") if "beta_schedule" in config else None


def is_lcm(pipeline: DiffusionPipeline) -> bool:
    """Whether a checkpoint was distilled to a latent consistency model: it says so by its scheduler, or its U-Net takes the guidance as input."""
    network = getattr(pipeline, "unet", None)
    return isinstance(pipeline.scheduler, LCMScheduler) or (network is not None and network.config.get("time_cond_proj_dim") is not None)


def chosen(pipeline: DiffusionPipeline, name: str) -> str:
    """The name of a sampler that fits: the one asked for, or what `auto` is here. Raises SamplerError."""
    kind, lcm = predicts(pipeline.scheduler), is_lcm(pipeline)
    if name == AUTO:
        return "lcm" if lcm else "flow-euler" if kind == FLOW else "dpm++" if kind in _NOISED else OWN
    if name == OWN:
        return name
    if name not in SAMPLERS:
        raise SamplerError(f"no sampler {name!r}; there are {', '.join((AUTO, *SAMPLERS, OWN))}")
    own = type(pipeline.scheduler)
    if own is SAMPLERS[name].scheduler:
        return name
    fitting = [*(other for other, one in SAMPLERS.items() if kind in one.predicts and (other == "lcm") == lcm), OWN]
    if kind not in SAMPLERS[name].predicts:
        trained = {None: "for its own scheduler alone", FLOW: "to predict the velocity of a flow"}.get(kind, f"to predict {kind}")
        raise SamplerError(
            f"sampler {name} does not fit: the checkpoint was trained {trained} ({own.__name__}); take {' or '.join(fitting)}"
        )
    if name == "lcm" and not lcm:
        raise SamplerError(
            f"sampler lcm does not fit: the checkpoint is no latent consistency model ({own.__name__}); take {' or '.join(fitting)}"
        )
    return name


def scheduler_of(pipeline: DiffusionPipeline, name: str) -> SchedulerMixin:
    """A new scheduler for a name that `chosen` gave, on the checkpoint's noise schedule."""
    config = pipeline.scheduler.config
    if name == OWN:
        return type(pipeline.scheduler).from_config(config)
    options = dict(SAMPLERS[name].options)
    if config.get("rescale_betas_zero_snr"):
        options["timestep_spacing"] = "trailing"  # with any other the first step is not pure noise (arXiv 2305.08891)
    # Of a variance that the network predicts as well these samplers know nothing: told so, a pipeline leaves it out.
    known = {**config, "variance_type": None} if "variance_type" in config else config
    return SAMPLERS[name].scheduler.from_config(known, **options)


def steps_of(name: str) -> int:
    """How many steps a sampler takes unless told."""
    return _OWN_STEPS if name == OWN else SAMPLERS[name].steps
