"""Gradients of the weights of the temporal convolutions: oneDNN's, and as matrix products.

Processor time of one thread, for the shapes of the presets base (2 clips) and tiny (16 clips), in
the channels-last layout.

    python -m benchmarks.convolutions --out DIR --json FILE
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.figures import Figures, parser
from toomuchtv.models.convolutions import weight_gradient

#: Clips, channels in, channels out, frames, pixels, stride.
SHAPES = {
    "base_stem": (2, 45, 64, 16, 3136, 1),
    "base_1": (2, 144, 64, 16, 3136, 1),
    "base_2": (2, 288, 128, 8, 784, 1),
    "base_2_strided": (2, 230, 128, 16, 784, 2),
    "base_3": (2, 576, 256, 4, 196, 1),
    "base_4": (2, 1152, 512, 2, 49, 1),
    "tiny_stem": (16, 11, 16, 8, 1024, 1),
    "tiny_1": (16, 36, 16, 8, 1024, 1),
    "tiny_2": (16, 72, 32, 4, 256, 1),
}
_REPEATS = 3


def milliseconds(run: Callable[[], object]) -> float:
    """The least processor time of some calls after a first one."""
    run()
    taken = []
    for _ in range(_REPEATS):
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return 1000 * min(taken)


def measure(name: str) -> dict[str, float]:
    """Both ways of one shape."""
    clips, before, after, frames, pixels, stride = SHAPES[name]
    x = torch.randn(clips, before, frames, pixels).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(after, before, 3, 1).contiguous(memory_format=torch.channels_last)
    shape = torch.nn.functional.conv2d(x, weight, None, (stride, 1), (1, 0)).shape
    grad = torch.randn(shape).contiguous(memory_format=torch.channels_last)

    def theirs() -> object:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, (stride, 1), (1, 0), (1, 1), False, (0, 0), 1,
            (False, True, False),
        )  # fmt: skip

    def ours() -> object:
        return weight_gradient(x, grad, 3, stride, 1)

    giga = 2e-9 * grad.numel() * before * 3
    found = {"onednn": milliseconds(theirs), "products": milliseconds(ours)}
    return {
        **{f"{name}_{way}_ms": value for way, value in found.items()},
        **{f"{name}_{way}_gflop_per_second": 1000 * giga / x for way, x in found.items()},
        f"{name}_onednn_over_products": found["onednn"] / found["products"],
    }


def main() -> None:
    """Measure every shape."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    values: dict[str, float] = {}
    for name in SHAPES:
        values |= measure(name)
    Figures(benchmark="convolutions", values=values).publish(options.json)


if __name__ == "__main__":
    main()
