"""Colors agree with float64 conversions that are written here from the recommendations.

Images are made as RGB, coded to Y'CbCr 4:2:0 by NumPy, stored without loss and read back by
`read_clip` and, over a proxy, by `ClipTransform`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD, ClipTransform, TransformConfig
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.frame_converter import FrameConverter
from toomuchtv.media.hdr import TransferFunction, tone_map
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

SIDE = 128
Floats = NDArray[np.float64]

# Shares of red and blue in luma.
LUMA = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
# FFmpeg's numbers of the matrices and of limited and full range.
MATRIX = {"601": 6, "709": 1, "2020": 9}
RANGE = {"limited": 1, "full": 2}


@dataclass(frozen=True, kw_only=True)
class Coding:
    matrix: str
    range: str = "limited"
    bits: int = 8
    transfer: int = 2
    primaries: int = 2
    codec: str = "ffv1"
    suffix: str = ".mkv"


def smooth(seed: int = 0) -> Floats:
    """Return a colorful, smooth image in 0..1, `[SIDE, SIDE, 3]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    out = np.empty((SIDE, SIDE, 3))
    for channel in range(3):
        a, b, c = rng.uniform([2.0, 2.0, 0.0], [9.0, 9.0, 6.0])
        out[..., channel] = 0.5 + 0.48 * np.sin(a * x + b * y + c)
    return out


def sharp() -> Floats:
    """Return an image of rectangles of all colors."""
    rng = np.random.default_rng(1)
    out = np.zeros((SIDE, SIDE, 3))
    for _ in range(60):
        (x, y), (width, height) = rng.integers(0, SIDE, 2), rng.integers(4, 40, 2)
        out[y : y + height, x : x + width] = rng.uniform(0, 1, 3)
    return out


def coded(rgb: Floats, coding: Coding) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the 4:2:0 planes of R'G'B' in 0..1, with chroma sited left (MPEG-2)."""
    red_share, blue_share = LUMA[coding.matrix]
    r, g, b = np.moveaxis(rgb, -1, 0)
    luma = red_share * r + (1 - red_share - blue_share) * g + blue_share * b
    chroma = [(b - luma) / (2 - 2 * blue_share), (r - luma) / (2 - 2 * red_share)]
    step = 2 ** (coding.bits - 8)
    if coding.range == "limited":
        planes = [16 * step + 219 * step * luma]
        planes += [128 * step + 224 * step * half(c, coding.matrix) for c in chroma]
    else:
        top = 2**coding.bits - 1
        planes = [top * luma] + [128 * step + top * half(c, coding.matrix) for c in chroma]
    flat = np.concatenate([plane.reshape(-1, SIDE) for plane in planes])
    flat = np.rint(flat).clip(0, 2**coding.bits - 1)
    return np.asarray(flat, np.uint8) if coding.bits == 8 else np.asarray(flat, np.uint16)


def half(chroma: Floats, matrix: str) -> Floats:
    """Halve both axes, sited left; in BT.2020 at the upper row, else between the rows."""
    rows = half_along(chroma) if matrix == "2020" else (chroma[::2] + chroma[1::2]) / 2
    return half_along(rows.T).T


def half_along(lines: Floats) -> Floats:
    """Return every other line, averaged with a quarter of each neighbor."""
    padded = np.pad(lines, ((1, 0), (0, 0)), mode="edge")
    return np.asarray(padded[:-1:2] / 4 + padded[1::2] / 2 + padded[2::2] / 4)


def write(path: Path, rgb: Floats, coding: Coding) -> Path:
    pixel_format = "yuv420p" if coding.bits == 8 else "yuv420p10le"
    planes = coded(rgb, coding)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(coding.codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixel_format
        if coding.codec == "libx264":
            stream.options = {"qp": "0"}
        context = stream.codec_context
        context.colorspace, context.color_range = MATRIX[coding.matrix], RANGE[coding.range]
        context.color_trc, context.color_primaries = coding.transfer, coding.primaries
        for number in range(4):
            frame = VideoFrame(SIDE, SIDE, pixel_format)
            begin = 0
            for index, plane in enumerate(frame.planes):
                width, rows = (SIDE, SIDE) if index == 0 else (SIDE // 2, SIDE // 2)
                part = planes.reshape(-1)[begin : begin + width * rows].reshape(rows, width)
                begin += width * rows
                padded = np.zeros((rows, plane.line_size // planes.itemsize), planes.dtype)
                padded[:, :width] = part
                plane.update(padded.tobytes())
            frame.colorspace, frame.color_range = context.colorspace, context.color_range
            frame.color_trc, frame.color_primaries = coding.transfer, coding.primaries
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen_by_reading(path: Path) -> Floats:
    return np.asarray(read_clip(path, frames=1).video[0], np.float64)


def seen_by_encoders(path: Path) -> Floats:
    """Return the output of `ClipTransform` for the proxy, in 0..255."""
    proxy = path.with_name("proxy.mp4")
    write_proxy(path, proxy, None, ProxyFormat(short_side=SIDE, quantizer=1))
    reader = ProxyReader(proxy, None, frame_rate=8.0, sample_rate_hz=16_000)
    planes = torch.from_numpy(reader.read_planes(first_frame=0, frames=1))[None]
    reader.close()
    return rgb_of(planes)


def rgb_of(planes: torch.Tensor) -> Floats:
    changes = draw_augmentation(AugmentationConfig.none(), np.zeros(1, np.uint64))
    out = ClipTransform(TransformConfig(size=SIDE)).video(planes, changes)[0, :, 0].double().numpy()
    rgb = np.moveaxis(out, 0, -1) * np.array(RGB_STD) + np.array(RGB_MEAN)
    return np.asarray(rgb * 255.0)


def difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the mean difference in levels of 255."""
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).mean())


BOTH_WAYS = pytest.mark.parametrize("seen_by", [seen_by_reading, seen_by_encoders])


# ---- Matrices and ranges


@BOTH_WAYS
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("range_", RANGE)
@pytest.mark.parametrize("matrix", MATRIX)
def test_matrices_and_ranges(
    tmp_path: Path, matrix: str, range_: str, bits: int, seen_by: Callable[[Path], Floats]
) -> None:
    coding = Coding(matrix=matrix, range=range_, bits=bits)
    seen = seen_by(write(tmp_path / "film.mkv", smooth(), coding))
    assert difference(seen, 255 * smooth()) < 2.0


@BOTH_WAYS
@pytest.mark.parametrize("range_", RANGE)
@pytest.mark.parametrize("matrix", MATRIX)
def test_tags_of_h264_in_mp4(
    tmp_path: Path, matrix: str, range_: str, seen_by: Callable[[Path], Floats]
) -> None:
    coding = Coding(matrix=matrix, range=range_, codec="libx264")
    seen = seen_by(write(tmp_path / "film.mp4", smooth(1), coding))
    assert difference(seen, 255 * smooth(1)) < 2.0


def test_clips_and_proxies_agree_on_sharp_images(tmp_path: Path) -> None:
    """Chroma that is sited half a pixel off would show at edges."""
    upright = FrameConverter(width=SIDE, height=SIDE, pixel_format="yuv420p")
    image = np.rint(255 * sharp()).astype(np.uint8)
    planes = upright.convert(VideoFrame.from_ndarray(image, format="rgb24"))
    by_encoders = rgb_of(torch.from_numpy(planes.to_ndarray())[None, None])
    planes.colorspace, planes.color_range = MATRIX["601"], RANGE["limited"]
    back = FrameConverter(width=SIDE, height=SIDE, pixel_format="rgb24").convert(planes)
    assert difference(by_encoders, np.asarray(back.to_ndarray())) < 0.5
    path = write(tmp_path / "film.mkv", sharp(), Coding(matrix="601"))
    by_reading = seen_by_reading(path)
    assert difference(seen_by_encoders(path), by_reading) < 1.5


# ---- High dynamic range

TO_2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)  # fmt: skip
PQ, HLG, BT709, BT2020 = 16, 18, 1, 9


def pq(nits: Floats) -> Floats:
    """SMPTE ST 2084, equation 5.1: the inverse EOTF."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    y = (nits / 10_000) ** m1
    return np.asarray(((c1 + c2 * y) / (1 + c3 * y)) ** m2)


def hlg(nits: Floats) -> Floats:
    """ITU-R BT.2100, table 5: inverse OOTF of a display of 1000 cd/m2, then the OETF."""
    display = np.maximum(nits, 0) / 1000
    luma = display @ [0.2627, 0.6780, 0.0593]
    scene = display * np.maximum(luma, 1e-12)[..., None] ** ((1 - 1.2) / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    upper = a * np.log(np.maximum(12 * scene - b, 1e-12)) + c
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper))


def rolled_off(nits: float) -> float:
    """ITU-R BT.2390, the EETF from 1000 to 203 cd/m2, one value at a time."""

    def code(light: float) -> float:
        return float(pq(np.array(light)))

    target = code(203) / code(1000)
    source, knee = min(code(nits) / code(1000), 1.0), 1.5 * target - 0.5
    if source < knee:
        return nits
    t = (source - knee) / (1 - knee)
    mapped = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * target
    )
    low, high = 0.0, 10_000.0
    for _ in range(60):  # inverts PQ by bisection
        middle = (low + high) / 2
        low, high = (middle, high) if code(middle) < mapped * code(1000) else (low, middle)
    return low


def sdr(nits: Floats) -> Floats:
    """The inverse of BT.1886, in 0..255."""
    return np.asarray(255 * (nits / 203).clip(0, 1) ** (1 / 2.4))


@BOTH_WAYS
@pytest.mark.parametrize("range_", RANGE)
@pytest.mark.parametrize(("transfer", "function"), [(PQ, pq), (HLG, hlg)], ids=["PQ", "HLG"])
def test_hdr_within_the_range_of_sdr_is_unchanged(
    tmp_path: Path,
    transfer: int,
    function: Callable[[Floats], Floats],
    range_: str,
    seen_by: Callable[[Path], Floats],
) -> None:
    nits = 80 * smooth(2) ** 2.4
    coding = Coding(matrix="2020", range=range_, bits=10, transfer=transfer, primaries=BT2020)
    path = write(tmp_path / "film.mkv", function(nits @ TO_2020.T), coding)
    assert difference(seen_by(path), sdr(nits)) < 2.0


@BOTH_WAYS
@pytest.mark.parametrize(("transfer", "function"), [(PQ, pq), (HLG, hlg)], ids=["PQ", "HLG"])
def test_highlights_follow_the_curve(
    tmp_path: Path,
    transfer: int,
    function: Callable[[Floats], Floats],
    seen_by: Callable[[Path], Floats],
) -> None:
    ramp = np.broadcast_to(np.geomspace(1.0, 1000.0, SIDE)[None, :, None], (SIDE, SIDE, 3))
    coding = Coding(matrix="2020", bits=10, transfer=transfer, primaries=BT2020)
    seen = seen_by(write(tmp_path / "film.mkv", function(np.asarray(ramp)), coding))
    wanted = sdr(np.array([rolled_off(nits) for nits in ramp[0, :, 0]]))
    assert difference(seen, wanted[None, :, None]) < 2.0
    line = seen.mean(axis=(0, 2))
    assert np.diff(line).min() > -0.5
    assert line[-1] > 250


@pytest.mark.parametrize("light", [TransferFunction.PQ, TransferFunction.HLG])
def test_every_hdr_color_follows_the_formulas(light: TransferFunction) -> None:
    """Saturated and bright colors too, each pixel by itself."""
    rng = np.random.default_rng(0)
    nits = 10 ** rng.uniform(-1, 3, (64, 64, 1)) * rng.uniform(0, 1, (64, 64, 3))
    function = pq if light is TransferFunction.PQ else hlg
    codes = np.rint(65_535 * function(nits).clip(0, 1)).astype(np.uint16)
    inside = np.linalg.solve(TO_2020, nits.reshape(-1, 3).T).T.clip(0, None)
    strongest = inside.max(axis=1)
    curve = np.array([rolled_off(value) / max(value, 1e-9) for value in strongest])
    wanted = sdr(inside * curve[:, None]).reshape(64, 64, 3)
    seen = tone_map(codes, light).astype(float)
    # The matrix of the recommendation has four digits: near black, this is a tenth of a level.
    assert difference(seen, wanted) < 0.5
    assert np.percentile(np.abs(seen - wanted), 99) < 2.0


def test_wide_gamut_sdr_is_converted_to_bt709(tmp_path: Path) -> None:
    light = smooth(3) ** 2.4
    wide = (light @ TO_2020.T).clip(0, 1) ** (1 / 2.4)
    coding = Coding(matrix="2020", bits=10, transfer=14, primaries=BT2020)
    seen = seen_by_reading(write(tmp_path / "film.mkv", wide, coding))
    assert difference(seen, 255 * smooth(3)) < 2.0


def test_hdr_with_bt709_primaries_keeps_them(tmp_path: Path) -> None:
    nits = 80 * smooth(4) ** 2.4
    coding = Coding(matrix="709", bits=10, transfer=PQ, primaries=BT709)
    seen = seen_by_reading(write(tmp_path / "film.mkv", pq(nits), coding))
    assert difference(seen, sdr(nits)) < 2.0
