"""Communication of a training step on many GPUs, computed and not measured.

    python -m benchmarks.scaling --json FILE              a few seconds, without a GPU

The bytes follow from the parameter counts of the presets and from the size of the embeddings. The
times follow from link rates and from single-GPU speeds, which are constants below. The tables of
docs/how_it_works/scaling.md are what this command prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.figures import Figures, argument_parser
from toomuchtv.data.clip_specs import TENSOR_COLUMNS
from toomuchtv.training.profile import count_parameters, flops_per_clip
from toomuchtv.training.run_config import Config, load_config

#: Clips per second of one H200 with torch.compile, forward, backward and optimizer, of the video
#: tower on synthetic clips. They were measured when this feature was planned, with PyTorch 2.11.
CLIPS_PER_SECOND = {"base": 1102.0, "vit-small": 4188.0, "vit-base": 1635.0}
#: The preset small was not measured: a quarter of the rate of matrix products that was measured.
_SMALL_FLOPS_PER_SECOND = 0.25 * 769e12
_GPUS_PER_HOST = 8
_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How GPUs or hosts are connected.

    Attributes:
        name: For people.
        bytes_per_second: What one GPU (NVLink) or one host (a network) sends in one direction,
            while all others send as well.
        latency_seconds: Time of a message without content.
    """

    name: str
    bytes_per_second: float
    latency_seconds: float


#: Inside of one host.
NVLINK = Link(name="NVLink", bytes_per_second=450e9, latency_seconds=3e-6)
#: Between hosts. InfiniBand has an adapter for each of eight GPUs, Ethernet one for the host.
NETWORKS = (
    Link(name="400 Gb/s InfiniBand", bytes_per_second=8 * 50e9, latency_seconds=10e-6),
    Link(name="100 Gb/s Ethernet", bytes_per_second=12.5e9, latency_seconds=30e-6),
)


def seconds_of_exchange(num_gpus: int, num_bytes: float, network: Link, passes: int) -> float:
    """Return the time of an all-gather (one pass) or of an all-reduce (two passes).

    A ring sends everything but the own part once per pass, first among the GPUs of a host and then
    among the hosts. The two parts do not overlap in this sum. Latencies are those of a tree.

    Args:
        num_gpus: Number of GPUs.
        num_bytes: Bytes of the whole result on each GPU.
        network: The network between hosts; one host uses NVLink alone.
        passes: 1 or 2.
    """
    hosts = max(1, num_gpus // _GPUS_PER_HOST)
    seconds = 0.0
    for link, members in ((NVLINK, min(num_gpus, _GPUS_PER_HOST)), (network, hosts)):
        sent = num_bytes * (members - 1) / members
        seconds += passes * (
            sent / link.bytes_per_second + math.log2(members) * link.latency_seconds
        )
    return seconds


def gathered_bytes(config: Config, num_clips: int) -> tuple[float, float]:
    """Return the bytes of the embeddings (GPUs) and of the clip facts (hosts) of a whole batch."""
    return num_clips * 2 * config.model.embedding_dim * 4, num_clips * len(TENSOR_COLUMNS) * 8


def least_clips_per_gpu(
    config: Config, rate: float, num_gpus: int, network: Link, *, share: float = _SHARE
) -> int | None:
    """Return the least clips per GPU, a multiple of 8, whose step communicates at most `share`.

    Nothing overlaps in this sum, so it is an upper bound of what the GPU waits for.
    """
    gradients = 4.0 * count_parameters(config)
    reduce = seconds_of_exchange(num_gpus, gradients, network, 2)
    for clips in range(8, 4097, 8):
        embeddings, _ = gathered_bytes(config, clips * num_gpus)
        gather = seconds_of_exchange(num_gpus, embeddings, network, 1)
        if reduce + gather <= share * (clips / rate + reduce + gather):
            return clips
    return None


def main() -> None:
    """Print the tables."""
    parser = argument_parser(__doc__)
    options = parser.parse_args()
    figures = Figures("scaling", options.json)
    rows, least = [], []
    for preset in ("small", "base", "vit-small", "vit-base"):
        config = load_config(preset=preset)
        rate = CLIPS_PER_SECOND.get(preset) or _SMALL_FLOPS_PER_SECOND / flops_per_clip(config)
        gradients = 4.0 * count_parameters(config)
        name = preset.replace("-", "_")
        figures.add({f"{name}_gradient_megabytes": gradients / 1e6, f"{name}_assumed_rate": rate})
        for num_gpus in (8, 64, 512):
            local = 128
            embeddings, facts = gathered_bytes(config, local * num_gpus)
            networks = NETWORKS if num_gpus > _GPUS_PER_HOST else (NVLINK,)
            cells, clips = [], []
            for network in networks:
                gather = seconds_of_exchange(num_gpus, embeddings, network, 1)
                reduce = seconds_of_exchange(num_gpus, gradients, network, 2)
                share = (gather + reduce) / (gather + reduce + local / rate)
                figures.add({f"{name}_{num_gpus}_gpus_{network.name.split()[-1]}_share": share})
                cells.append(f"{1e3 * gather:.2f} | {1e3 * reduce:.1f} | {share:.1%}")
                clips.append(least_clips_per_gpu(config, rate, num_gpus, network))
            sizes = f"{embeddings / 1e6:.1f} | {facts / 1e6:.2f} | {gradients / 1e6:.0f}"
            for network, cell in zip(networks, cells, strict=True):
                rows.append(f"| {preset} | {num_gpus} | {network.name} | {sizes} | {cell} |")
            least.append(
                f"| {preset} | {num_gpus} | "
                + " | ".join("none" if found is None else str(found) for found in clips)
                + (" |" if len(clips) > 1 else " | |")
            )
    print("\n".join(rows))
    print("\n".join(least))


if __name__ == "__main__":
    main()
