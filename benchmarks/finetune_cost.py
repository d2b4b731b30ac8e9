"""What fine-tuning costs at its real input size: a few steps, their memory, and a full run's time.

The preset tiny's video network, fresh, fed at the protocol's own crop (not at the preset's smaller
size), on clips of the UCF101 sample. Seconds are of processor time, so that a busy machine does not
change them; a full run is what they come to for the sample's first split, and for all of UCF101's.
"""

from __future__ import annotations

import itertools
import resource
import time
from pathlib import Path

import torch

from benchmarks.figures import Figures, parser
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders.interface import Encoder
from toomuchtv.evaluation.encoders.pretrained import RunVideoEncoder
from toomuchtv.evaluation.finetune import FineTuner
from toomuchtv.evaluation.protocols import FinetuneProtocol, choose_protocol
from toomuchtv.evaluation.views import VideoViews
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder, fresh_model
from toomuchtv.training.run_config import load_config

_UCF101_TRAIN, _UCF101_TEST = 9537, 3783  # clips of its first split


def fresh(preset: str, size: int) -> Encoder:
    """A preset's untrained encoder, fed pictures of `size`."""
    config = load_config(preset=preset)
    values = PretrainedConfig(
        clip=config.clip,
        input=config.input.model_copy(update={"size": size}),
        model=config.model,
    )
    made = PretrainedEncoder(fresh_model(values.model, 0), values)
    return Encoder(
        name=preset,
        fingerprint=preset,
        pretraining="nothing",
        video=RunVideoEncoder(made),
        untrained=True,
    )


def measure(protocol: FinetuneProtocol, media: Path, preset: str, steps: int) -> dict[str, float]:
    """Train a few steps and test a clip, timed."""
    benchmark = read_benchmark("ucf101", media / "ucf101")
    recipe = protocol.on("ucf101").model_copy(update={"head_epochs": 0})
    assert isinstance(recipe.train, VideoViews)
    assert recipe.train.crop is not None
    encoder = fresh(preset, recipe.train.crop)
    assert encoder.video is not None
    fold = benchmark.folds[0]
    tuning = FineTuner(encoder.video, benchmark, fold, recipe, seed=0, folder=None)
    began = time.process_time()
    batches = tuning.batches(0)
    first = next(batches)
    # A filling reads the views of as many clips as a batch has samples, and gives as many batches
    # as a clip has views.
    read = min(recipe.batch_size, len(fold.train))
    reading = (time.process_time() - began) / read
    began = time.process_time()
    losses = [tuning.step(*batch) for batch in [first, *itertools.islice(batches, steps - 1)]]
    training = (time.process_time() - began) / (steps * recipe.batch_size)
    began = time.process_time()
    tuning.scores(fold.test[:1])
    testing = time.process_time() - began
    epochs = recipe.epochs
    views = recipe.train.num_views

    def hours(train: int, test: int) -> float:
        return (epochs * train * (reading + views * training) + test * testing) / 3600

    return {
        "reading_seconds_a_clip": reading,
        "training_seconds_a_view": training,
        "testing_seconds_a_clip": testing,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "sample_hours_a_split": hours(len(fold.train), len(fold.test)),
        "ucf101_hours_a_split": hours(_UCF101_TRAIN, _UCF101_TEST),
    }


def main() -> None:
    """Measure each protocol, and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--media", type=Path, default=Path("../shared/media"))
    arguments.add_argument("--preset", default="tiny")
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--protocol", action="append", required=True)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    values: dict[str, float] = {}
    for name in options.protocol:
        protocol = choose_protocol(name)
        if not isinstance(protocol, FinetuneProtocol) or protocol.modality != "video":
            raise SystemExit(f"{name} does not fine-tune an encoder of video")
        found = measure(protocol, options.media, options.preset, options.steps)
        values |= {f"{name}_{key}": value for key, value in found.items()}
    Figures(benchmark="finetune_cost", values=values).publish(options.json)


if __name__ == "__main__":
    main()
