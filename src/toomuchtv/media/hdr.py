"""Tone mapping of high dynamic range and wide gamut video to SDR with BT.709 primaries.

Light is display light, in units of SDR white, which is 203 cd/m2 (ITU-R BT.2408).

1. Code values are converted to light. PQ: the EOTF of SMPTE ST 2084. HLG: the inverse OETF of
   ITU-R BT.2100 (ARIB STD-B67), then its OOTF for a display of 1000 cd/m2, gamma 1.2. SDR with a
   wide gamut: gamma 2.4 (ITU-R BT.1886).
2. BT.2020 primaries are converted to BT.709, and negative light is set to zero (ITU-R BT.2087).
3. The largest of R, G and B is mapped by the curve of ITU-R BT.2390 from 1000 to 203 cd/m2, and the
   other two are scaled by the same factor. The curve changes nothing below 85 cd/m2.
4. Light is converted to code values by gamma 1/2.4.

The curve is the same for every frame. It does not follow the mastering display that a file
declares, so that a frame looks the same whether it was reached by a seek or by decoding from the
start. Light above 1000 cd/m2 becomes white.
"""

from __future__ import annotations

import enum
import functools

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

_SDR_WHITE_NITS = 203.0
_PEAK_NITS = 1000.0

# Values of FFmpeg's AVColorTransferCharacteristic and AVColorPrimaries.
_TRANSFER_PQ, _TRANSFER_HLG = 16, 18
_PRIMARIES_UNSPECIFIED, _PRIMARIES_BT2020 = 2, 9

_BT2020_TO_BT709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    np.float32,
)
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


class TransferFunction(enum.Enum):
    """How code values encode light in a video that is not plain SDR.

    `GAMMA` is SDR with the wide gamut of BT.2020.
    """

    PQ = "pq"
    HLG = "hlg"
    GAMMA = "gamma"


def transfer_function_of(frame: VideoFrame) -> TransferFunction | None:
    """Return what the tags of a frame declare; None for plain SDR, which needs no conversion."""
    if frame.color_trc == _TRANSFER_PQ:
        return TransferFunction.PQ
    if frame.color_trc == _TRANSFER_HLG:
        return TransferFunction.HLG
    return TransferFunction.GAMMA if frame.color_primaries == _PRIMARIES_BT2020 else None


def has_wide_gamut(frame: VideoFrame) -> bool:
    """Return whether the primaries are BT.2020, which HDR without that tag is assumed to have."""
    return frame.color_primaries == _PRIMARIES_BT2020 or (
        frame.color_primaries == _PRIMARIES_UNSPECIFIED and transfer_function_of(frame) is not None
    )


def tone_map(
    rgb: NDArray[np.uint16], transfer: TransferFunction, *, wide_gamut: bool = True
) -> NDArray[np.uint8]:
    """Convert an image to SDR.

    Args:
        rgb: Code values in full range, uint16 `[H, W, 3]`.
        transfer: How the code values encode light.
        wide_gamut: Whether the primaries are those of BT.2020 rather than BT.709.

    Returns:
        uint8 `[H, W, 3]`, full range, BT.709 primaries.
    """
    linear = _code_to_light(transfer)[rgb]
    if transfer is TransferFunction.HLG:
        # The table holds scene light. The OOTF multiplies it by a power of its own luminance.
        luma = np.maximum(linear @ _BT2020_LUMA, np.float32(1e-9))
        linear *= (np.float32(_PEAK_NITS / _SDR_WHITE_NITS) * luma ** np.float32(0.2))[..., None]
    if wide_gamut:
        linear = linear @ _BT2020_TO_BT709.T
    np.maximum(linear, 0.0, out=linear)
    if transfer is not TransferFunction.GAMMA:
        light, gain = _tone_curve()
        strongest = linear.max(axis=-1)
        linear *= np.interp(strongest, light, gain).astype(np.float32)[..., None]
    codes = np.minimum(linear, 1.0) ** np.float32(1 / 2.4)
    return np.asarray(np.rint(codes * 255.0), np.uint8)


@functools.cache
def _code_to_light(transfer: TransferFunction) -> FloatArray:
    """Return the light of each of the 65,536 code values; for HLG, scene light in 0..1."""
    code = np.arange(65_536) / 65_535.0
    if transfer is TransferFunction.PQ:
        return np.asarray(_pq_to_nits(code) / _SDR_WHITE_NITS, np.float32)
    if transfer is TransferFunction.HLG:
        return np.asarray(_hlg_to_scene(code), np.float32)
    return np.asarray(code**2.4, np.float32)


# The constants of SMPTE ST 2084.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_to_nits(code: DoubleArray) -> DoubleArray:
    power = code ** (1 / _M2)
    return np.asarray(10_000.0 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _nits_to_pq(nits: DoubleArray) -> DoubleArray:
    power = (nits / 10_000.0) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_to_scene(code: DoubleArray) -> DoubleArray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12))


@functools.cache
def _tone_curve() -> tuple[DoubleArray, DoubleArray]:
    """Return light in units of SDR white, and the factor of BT.2390 (annex 5) for it."""
    nits = np.linspace(0.01, np.sqrt(10_000.0), 8192) ** 2  # finer steps for dark values
    peak = float(_nits_to_pq(np.array(_PEAK_NITS)))
    target = float(_nits_to_pq(np.array(_SDR_WHITE_NITS))) / peak
    knee = 1.5 * target - 0.5
    source = np.minimum(_nits_to_pq(nits) / peak, 1.0)
    t = (source - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * target
    )
    mapped = np.where(source < knee, source, spline)
    gain = np.where(source < knee, 1.0, _pq_to_nits(mapped * peak) / nits)
    return nits / _SDR_WHITE_NITS, gain
