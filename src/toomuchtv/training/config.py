"""Settings of the optimizer and the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class OptimizerConfig(BaseModel):
    """AdamW (Loshchilov and Hutter, ICLR 2019) with linear warm-up and cosine decay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(default=1e-3, gt=0.0)
    final_learning_rate_share: float = Field(default=0.0, ge=0.0, le=1.0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.98, ge=0.0, lt=1.0)
    clip_gradient_norm: float = Field(default=1.0, gt=0.0)


class TrainingConfig(BaseModel):
    """Length, seed, precision and bookkeeping of a run.

    Attributes:
        steps: Optimizer steps.
        seed: Weights, plans and augmentation all follow from it.
        precision: bfloat16 autocast, or float32; `auto` takes bfloat16 where the machine
            computes with it natively.
        num_threads: Threads that compute on a CPU; 0 leaves it to PyTorch. Sums come out in another
            order with another number, so a run to be repeated to the bit sets it.
        num_workers: Processes that decode; 0 decodes in the loop.
        on_worker_death: A decoding process that dies or stalls is replaced, and its steps are done
            again with the same result ("restart"), or the run ends with an error ("stop").
        max_worker_restarts: How many may be lost before the run ends with an error all the same.
        loader_timeout_seconds: How long to wait for one batch before the process that decodes it
            counts as stalled. Without processes (`num_workers` 0) there is no limit.
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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = Field(default=0, ge=0, le=1024)
    num_workers: int = Field(default=1, ge=0, le=256)
    on_worker_death: Literal["restart", "stop"] = "restart"
    max_worker_restarts: int = Field(default=100, ge=1)
    loader_timeout_seconds: float = Field(default=300.0, gt=0.0)
    on_bad_clip: Literal["replace", "stop"] = "replace"
    chunk_size: int = Field(default=0, ge=0)
    held_out_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    log_every: int = Field(default=10, ge=1)
    validate_every: int = Field(default=0, ge=0)
    validation_clips: int = Field(default=128, ge=2, le=4096)
    checkpoint_every: int = Field(default=200, ge=0)
    keep_checkpoints: int = Field(default=2, ge=1)
