"""The books of a run: what its loop counts, and what it logs of that."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.training.assembly import Run
from toomuchtv.training.meters import IntervalClock
from toomuchtv.training.metrics import MetricsLog
from toomuchtv.training.run_folder import last_loss
from toomuchtv.training.step import GatheredBatch
from toomuchtv.training.validation import held_out_loss


class MetricsTracker:
    """Counts every step; on rank 0 writes metrics. `close` it at the end.

    Attributes:
        clock: Where the time goes.
        loss: Mean of the last logged interval.
        replaced_clips: Clips that could not be decoded as planned, in this process.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.clock = IntervalClock()
        self.loss = last_loss(run.path)
        self.replaced_clips = 0
        self._metrics: MetricsLog | None = None
        if distributed.rank() == 0:
            self._metrics = MetricsLog(
                run.path,
                resume_step=run.start_step,
                wandb_project=run.config.training.wandb_project,
            )

    def count(self, batch: ClipBatch, loss: Tensor, gathered: GatheredBatch) -> None:
        """Note a step that is done."""
        self.clock.step_is_done(len(gathered.video))
        self.replaced_clips += len(batch.failures)
        self._run.losses.add(float(loss))

    def log(self, done: int, rate: float, norm: Tensor, gathered: GatheredBatch) -> None:
        """Write the figures of the interval that ends with step `done`."""
        step, losses = self._run.step, self._run.losses
        self.loss = losses.mean
        figures = step.negatives(gathered)
        temperature = step.loss.temperature.item()
        if self._metrics is not None:
            self._metrics.write(
                done,
                {
                    "loss": losses.mean,
                    "learning_rate": rate,
                    "gradient_norm": float(norm),
                    "temperature": temperature,
                    **dataclasses.asdict(figures),
                    "clips_per_second": self.clock.clips_per_second,
                    "data_wait_share": self.clock.wait_share,
                },
            )
        self.clock.start_interval()
        losses.reset()

    def validate(self, done: int) -> None:
        """Write the loss on the titles held out, of the model that would be saved now."""
        held_out = self._run.data.held_out
        if held_out is None or self._metrics is None:
            return
        model = self._run.best_model
        was_training = model.training
        loss = held_out_loss(as_pretrained(self._run), self._run.step.loss, held_out)
        model.train(was_training)
        self._metrics.write(done, {"held_out_loss": loss})

    def close(self) -> None:
        """Flush and close the log."""
        if self._metrics is not None:
            self._metrics.close()


def as_pretrained(run: Run) -> PretrainedEncoder:
    """The encoders of a run as others will use them; puts them in evaluation mode."""
    config = PretrainedConfig(
        clip=run.config.clip, transform=run.config.transform, model=run.config.model
    )
    return PretrainedEncoder(run.best_model, config).to(run.device)
