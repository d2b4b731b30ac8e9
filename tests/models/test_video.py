"""The video encoders: the layout of torchvision, exact convolutions, correct gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from toomuchtv.models import VideoEncoderConfig, VideoResNet, load_torchvision_weights
from toomuchtv.models.audio import ResidualBlock2d
from toomuchtv.models.convolutions import FullConv, ShortcutConv, SpatialConv, TemporalConv

STAGES = ((1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512))


def _norm(name: str, channels: int) -> dict[str, list[int]]:
    return {
        f"{name}.weight": [channels],
        f"{name}.bias": [channels],
        f"{name}.running_mean": [channels],
        f"{name}.running_var": [channels],
        f"{name}.num_batches_tracked": [],
    }


def torchvision_layout(*, factored: bool) -> dict[str, list[int]]:
    """Return names and shapes of torchvision's `r2plus1d_18` or `r3d_18`, without `fc`."""
    layout: dict[str, list[int]] = {}
    if factored:
        layout |= {"stem.0.weight": [45, 3, 1, 7, 7], **_norm("stem.1", 45)}
        layout |= {"stem.3.weight": [64, 45, 3, 1, 1], **_norm("stem.4", 64)}
    else:
        layout |= {"stem.0.weight": [64, 3, 3, 7, 7], **_norm("stem.1", 64)}
    for stage, before, channels in STAGES:
        for block in (0, 1):
            inputs = before if block == 0 else channels
            # Equation in section 3.5 of the paper, with t = d = 3; one number per block.
            middle = (27 * inputs * channels) // (9 * inputs + 3 * channels)
            for number, into in (("conv1", inputs), ("conv2", channels)):
                name = f"layer{stage}.{block}.{number}"
                if factored:
                    layout[f"{name}.0.0.weight"] = [middle, into, 1, 3, 3]
                    layout |= _norm(f"{name}.0.1", middle)
                    layout[f"{name}.0.3.weight"] = [channels, middle, 3, 1, 1]
                else:
                    layout[f"{name}.0.weight"] = [channels, into, 3, 3, 3]
                layout |= _norm(f"{name}.1", channels)
            if inputs != channels:
                layout[f"layer{stage}.0.downsample.0.weight"] = [channels, inputs, 1, 1, 1]
                layout |= _norm(f"layer{stage}.0.downsample.1", channels)
    return layout


# Number of parameters in torchvision's documentation, with a classifier of 400 classes.
PUBLISHED = {"r2plus1d": 31_505_325, "r3d": 33_371_472}
CLASSIFIER = 512 * 400 + 400


@pytest.mark.parametrize("name", ["r2plus1d", "r3d"])
def test_depth_18_has_the_layout_of_torchvision(name: str) -> None:
    encoder = VideoResNet(VideoEncoderConfig.model_validate({"name": name}))
    shapes = {key: list(value.shape) for key, value in encoder.state_dict().items()}
    assert shapes == torchvision_layout(factored=name == "r2plus1d")
    count = sum(value.numel() for value in encoder.parameters())
    assert count + CLASSIFIER == PUBLISHED[name]
    assert encoder.num_features == 512


def test_the_expected_layout_has_the_published_shapes() -> None:
    layout = torchvision_layout(factored=True)
    assert layout["layer1.0.conv1.0.0.weight"] == [144, 64, 1, 3, 3]
    assert layout["layer2.0.conv1.0.0.weight"] == [230, 64, 1, 3, 3]
    assert layout["layer2.0.conv2.0.0.weight"] == [230, 128, 1, 3, 3]
    assert layout["layer2.0.downsample.0.weight"] == [128, 64, 1, 1, 1]


@pytest.mark.parametrize("name", ["r2plus1d", "r3d"])
@pytest.mark.parametrize(("frames", "size"), [(8, 32), (5, 24), (1, 16)])
def test_features_have_their_shape(name: str, frames: int, size: int) -> None:
    config = VideoEncoderConfig.model_validate({"name": name, "depth": 10, "width": 0.125})
    encoder = VideoResNet(config)
    features = encoder(torch.randn(2, 3, frames, size, size))
    assert features.shape == (2, encoder.num_features)
    assert encoder.num_features == 64


def test_a_padded_network_computes_the_function_of_an_unpadded_one() -> None:
    """The padded channels are zero, and so are the weights that read them."""
    plain = VideoResNet(VideoEncoderConfig(depth=10, width=0.125))
    padded = VideoResNet(VideoEncoderConfig(depth=10, width=0.125, channel_multiple=32))
    state = padded.state_dict()
    num_padded = 0
    for name, value in plain.state_dict().items():
        if state[name].shape != value.shape:
            num_padded += 1
            # Batch norm keeps its variance of 1 for them: a mean of zero stays zero.
            state[name] = torch.full_like(state[name], float(name.endswith("running_var")))
        state[name][tuple(slice(0, size) for size in value.shape)] = value
    assert num_padded > 30
    padded.load_state_dict(state)
    clip = torch.randn(2, 3, 4, 32, 32)
    for training in (True, False):
        found, expected = padded.train(training)(clip), plain.train(training)(clip)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        found.square().sum().backward()
        expected.square().sum().backward()
    for name, value in plain.named_parameters():
        gradient = padded.get_parameter(name).grad
        assert gradient is not None
        inside = gradient[tuple(slice(0, size) for size in value.shape)]
        torch.testing.assert_close(inside, value.grad, rtol=1e-3, atol=1e-4)


def _assert_equals_conv3d(conv: nn.Conv3d, x: Tensor) -> None:
    plain = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        bias=False,
        dtype=torch.float64,
    )
    plain.load_state_dict(conv.state_dict())
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = conv(mine), plain(theirs)
    assert out.shape == expected.shape
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(expected)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(conv.weight.grad, plain.weight.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [1, 2])
def test_spatial_convolution_equals_conv3d(layout: torch.memory_format, stride: int) -> None:
    torch.manual_seed(0)
    conv = SpatialConv(
        3, 5, (1, 7, 7), stride=(1, stride, stride), padding=(0, 3, 3), bias=False,
        dtype=torch.float64,
    )  # fmt: skip
    x = torch.randn(2, 3, 4, 11, 9, dtype=torch.float64).contiguous(memory_format=layout)
    _assert_equals_conv3d(conv, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("taps", [3, 5])
def test_temporal_convolution_equals_conv3d(
    layout: torch.memory_format, stride: int, frames: int, taps: int
) -> None:
    torch.manual_seed(0)
    conv = TemporalConv(
        4, 5, (taps, 1, 1), stride=(stride, 1, 1), padding=(taps // 2, 0, 0), bias=False,
        dtype=torch.float64,
    )  # fmt: skip
    x = torch.randn(2, 4, frames, 5, 6, dtype=torch.float64).contiguous(memory_format=layout)
    _assert_equals_conv3d(conv, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_full_convolution_equals_conv3d(
    layout: torch.memory_format, stride: int, frames: int
) -> None:
    torch.manual_seed(0)
    conv = FullConv(
        3, 4, (3, 5, 3), stride=stride, padding=(1, 2, 1), bias=False, dtype=torch.float64
    )
    x = torch.randn(2, 3, frames, 6, 7, dtype=torch.float64).contiguous(memory_format=layout)
    _assert_equals_conv3d(conv, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 6, 7), (5, 2, 2)])
def test_shortcut_convolution_equals_conv3d(
    layout: torch.memory_format, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    conv = ShortcutConv(3, 4, 1, stride=2, bias=False, dtype=torch.float64)
    x = torch.randn(2, 3, *shape, dtype=torch.float64).contiguous(memory_format=layout)
    _assert_equals_conv3d(conv, x)


STRIDED: dict[str, Callable[[int], nn.Module]] = {
    "shortcut": lambda c: ShortcutConv(c, 2 * c, 1, stride=2, bias=False),
    "spatial": lambda c: SpatialConv(
        c, 2 * c, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False
    ),
    "temporal": lambda c: TemporalConv(
        c, 2 * c, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0), bias=False
    ),
    "full": lambda c: FullConv(c, 2 * c, 3, stride=2, padding=1, bias=False),
    "audio": lambda c: nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=False),
    "audio shortcut": lambda c: ResidualBlock2d(c, 2 * c, 2).get_submodule("downsample.0"),
}


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("channels", [16, 64])
@pytest.mark.parametrize("width", [1, 2])
def test_strided_bfloat16_convolutions_are_right_at_an_output_width_of_1(
    name: str, channels: int, width: int
) -> None:
    torch.manual_seed(0)
    conv = STRIDED[name](channels)
    is_2d = name.startswith("audio")
    x = torch.randn(4, channels, 6, width) if is_2d else torch.randn(4, channels, 4, 2, width)
    x = x.contiguous(memory_format=torch.channels_last if is_2d else torch.channels_last_3d)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv.zero_grad()
        data = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            out = conv(data)
        out.float().square().sum().backward()
        (weight,) = conv.parameters()
        found[dtype] = [out, data.grad, weight.grad]
    for exact, rounded in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert exact is not None
        assert rounded is not None
        # bfloat16 has 8 bits of precision; a wrong kernel is off by the size of the result.
        assert (exact - rounded.float()).norm() < 0.02 * exact.norm()


def _gradients(
    encoder: VideoResNet, video: Tensor, weights: Tensor, dtype: torch.dtype
) -> list[Tensor]:
    encoder.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        features = encoder(video)
    (features.float() * weights).sum().backward()
    return [value.grad.clone() for value in encoder.parameters() if value.grad is not None]


@pytest.mark.parametrize("name", ["r2plus1d", "r3d"])
@pytest.mark.parametrize(("clips", "frames", "size"), [(4, 8, 32), (4, 4, 16), (2, 17, 48)])
def test_bfloat16_gradients_are_repeatable_and_close_to_float32(
    name: str, clips: int, frames: int, size: int
) -> None:
    """Six equal passes, because some kernels sometimes return memory that they never wrote."""
    torch.manual_seed(0)
    config = VideoEncoderConfig.model_validate({"name": name, "depth": 10, "width": 0.125})
    encoder = VideoResNet(config).eval()
    video = torch.randn(clips, 3, frames, size, size)
    video = video.contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn(clips, encoder.num_features)
    first = _gradients(encoder, video, weights, torch.bfloat16)
    assert len(first) == len(list(encoder.parameters()))
    for _ in range(5):
        junk = torch.full((1 << 20,), torch.nan)  # unwritten memory would contain these
        del junk
        again = _gradients(encoder, video, weights, torch.bfloat16)
        assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    exact = _gradients(encoder, video, weights, torch.float32)
    for rounded, true in zip(first, exact, strict=True):
        cosine = nn.functional.cosine_similarity(rounded.flatten(), true.flatten(), dim=0)
        assert cosine > 0.9


def test_published_weights_load() -> None:
    encoder = VideoResNet(VideoEncoderConfig())
    state = {
        name: torch.randn(shape) if shape else torch.tensor(3)
        for name, shape in torchvision_layout(factored=True).items()
    }
    load_torchvision_weights(encoder, state | {"fc.weight": torch.zeros(400, 512)})
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (VideoEncoderConfig(width=0.125, depth=10), "r2plus1d"),
        (VideoEncoderConfig(width=0.25), "r2plus1d"),
        (VideoEncoderConfig(name="r3d"), "r2plus1d"),
    ],
)
def test_weights_of_another_architecture_are_refused(config: VideoEncoderConfig, name: str) -> None:
    state = {
        key: torch.zeros(shape)
        for key, shape in torchvision_layout(factored=name == "r2plus1d").items()
    }
    with pytest.raises(ValueError, match="not of this architecture"):
        load_torchvision_weights(VideoResNet(config), state)
