"""Settings of the optimizer and the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Which settings are of one optimizer alone.
_OWN_SETTINGS = {
    "adamw": {"beta1", "beta2"},
    "lars": {"momentum", "trust_coefficient"},
    "sgd": {"momentum", "nesterov"},
}


class OptimizerConfig(BaseModel):
    """Which optimizer, with linear warm-up and then a cosine or a constant learning rate.

    Attributes:
        name: "adamw" (Loshchilov and Hutter, ICLR 2019), "lars" (You et al. 2017) or "sgd".
        learning_rate: Its peak.
        schedule: What follows the warm-up: half a cosine down to `final_learning_rate_share` of
            the peak, or the peak to the end.
        warmup_steps: Steps of the linear rise.
        weight_decay: Of weights; biases, norms and scalars are never decayed.
        clip_gradient_norm: Largest norm of the whole gradient; 0 does not clip.
        beta1: Of "adamw".
        beta2: Of "adamw".
        momentum: Of "lars" and "sgd".
        nesterov: Of "sgd": look ahead along the momentum.
        trust_coefficient: Of "lars": the share of a layer's norm that one step may move it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["adamw", "lars", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0.0)
    schedule: Literal["cosine", "constant"] = "cosine"
    final_learning_rate_share: float = Field(default=0.0, ge=0.0, le=1.0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    clip_gradient_norm: float = Field(default=1.0, ge=0.0)
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.98, ge=0.0, lt=1.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    nesterov: bool = False
    trust_coefficient: float = Field(default=1e-3, gt=0.0)

    @model_validator(mode="after")
    def _nothing_is_set_in_vain(self) -> OptimizerConfig:
        for key in set[str]().union(*_OWN_SETTINGS.values()) - _OWN_SETTINGS[self.name]:
            if getattr(self, key) != type(self).model_fields[key].default:
                owners = [name for name, own in _OWN_SETTINGS.items() if key in own]
                raise ValueError(
                    f"optimizer.{key} is a setting of {' and '.join(owners)}, and optimizer.name "
                    f"is {self.name!r}"
                )
        if self.nesterov and self.momentum == 0:
            raise ValueError("optimizer.nesterov needs a momentum above 0")
        return self


class TrainingConfig(BaseModel):
    """Length, seed, precision and bookkeeping of a run.

    Attributes:
        steps: Optimizer steps.
        seed: Weights, plans and augmentation all follow from it.
        precision: bfloat16 autocast, or float32; `auto` takes bfloat16 where the machine
            computes with it natively.
        num_threads: Threads that compute on a CPU; 0 leaves it to PyTorch. Sums come out in another
            order with another number, so a run to be repeated to the bit sets it.
        compile: Whether `torch.compile` makes kernels for the encoders; see docs/training.md.
        activation_checkpointing: Whether the encoders' blocks are computed once more for the
            backward pass instead of kept: the same gradients, about a third more time, less memory.
        synchronized_norm: Whether batch norm takes its statistics over all processes.
        ema_decay: Of the running average of the weights that is saved and evaluated in their
            stead; 0: none.
        num_workers: Processes that decode; 0 decodes in the loop.
        on_worker_death: A decoding process that dies or stalls is replaced, and its steps are done
            again with the same result ("restart"), or the run ends with an error ("stop").
        max_worker_restarts: How many may be lost before the run ends with an error all the same.
        loader_timeout_seconds: How long to wait for one batch before the process that decodes it
            counts as stalled. Without processes (`num_workers` 0) there is no limit.
        distributed_timeout_seconds: How long to wait for another training process, once all are
            under way, before the run ends with an error; more than validation and the writing of a
            checkpoint take.
        on_bad_clip: A clip that cannot be read is replaced by another of its title ("replace"), or
            the run ends with an error ("stop").
        chunk_size: Clips of one process whose activations are in memory at once; 0: all of its
            batch. Less memory for a second forward pass; the gradient stays that of the whole
            batch, but for batch norm, whose statistics are a chunk's.
        held_out_share: Share of the titles that are never trained on.
        log_every: Steps between two lines of metrics.jsonl.
        validate_every: Steps between two looks at the held-out titles; 0: only at the end.
        checkpoint_every: Steps between two checkpoints; 0: only at the end.
        keep_checkpoints: How many of the newest are kept.
        keep_checkpoints_every: Checkpoints of a multiple of so many steps are kept for good; 0:
            none is.
        wandb_project: Where Weights & Biases is told the metrics as well; empty: nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = Field(default=0, ge=0, le=1024)
    compile: bool = False
    activation_checkpointing: bool = False
    synchronized_norm: bool = False
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    num_workers: int = Field(default=1, ge=0, le=256)
    on_worker_death: Literal["restart", "stop"] = "restart"
    max_worker_restarts: int = Field(default=100, ge=1)
    loader_timeout_seconds: float = Field(default=300.0, gt=0.0)
    distributed_timeout_seconds: float = Field(default=600.0, ge=1.0)
    on_bad_clip: Literal["replace", "stop"] = "replace"
    chunk_size: int = Field(default=0, ge=0)
    held_out_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    log_every: int = Field(default=10, ge=1)
    validate_every: int = Field(default=0, ge=0)
    validation_clips: int = Field(default=128, ge=2, le=4096)
    checkpoint_every: int = Field(default=200, ge=0)
    keep_checkpoints: int = Field(default=2, ge=1)
    keep_checkpoints_every: int = Field(default=0, ge=0)
    wandb_project: str = ""
