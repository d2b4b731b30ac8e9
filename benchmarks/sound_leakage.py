"""How well copies of the catalog's sound are told from other sound: what sets the threshold.

Copies: stretches of random length and place of the library's files, at another gain, coded anew.
Others: the recordings of --others, none of which is in the catalogs. Prints how the figure of
`best_place` is spread in each, and how many fall on the wrong side of the threshold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figures, parser
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.sound_leakage import (
    MOST_ERROR,
    SoundIndex,
    best_place,
    can_tell,
    index_catalog_sounds,
    print_file,
)
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.containers import audio_duration_seconds, open_media

_NOWHERE = 0.5  # the figure of a recording that has not one word in common with the catalog
# Container, codec, bit rate, sample rate.
_CODINGS = (
    ("ogg", "libopus", 32_000, 48_000),
    ("mp3", "libmp3lame", 64_000, 44_100),
    ("m4a", "aac", 48_000, 22_050),
    ("wav", "pcm_s16le", 0, 16_000),
)
_MEDIA = {".mp4", ".mkv", ".webm", ".wmv", ".mov", ".avi", ".ogg", ".wav", ".m4v"}


def write_sound(path: Path, sound: NDArray[np.float32], codec: str, bits: int, rate: int) -> None:
    """Write mono sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        if bits:
            stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, stream.layout, rate, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def copies(
    index: SoundIndex, library: Path, seconds: float, count: int, seed: int
) -> tuple[list[float], int]:
    """Figures of copies, and how many of them lie where they were cut out."""
    rng = np.random.default_rng(seed)
    figures: list[float] = []
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        while len(figures) < count:
            name = index.names[int(rng.integers(len(index.names)))]
            path = library / name
            room = audio_duration_seconds(path) - seconds
            if room <= 0:
                continue
            start = float(rng.uniform(0, room))
            suffix, codec, bits, rate = _CODINGS[len(figures) % len(_CODINGS)]
            sound = read_audio(
                path, first_sample=round(start * rate), num_samples=round(seconds * rate),
                sample_rate_hz=rate,
            ) * np.float32(10 ** rng.uniform(-0.8, 0.2))  # fmt: skip
            copy = Path(folder) / f"copy.{suffix}"
            write_sound(copy, sound.clip(-1, 1), codec, bits, rate)
            prints = print_file(copy, start_seconds=0.0, stop_seconds=seconds)
            if not can_tell(prints):
                continue  # silence: there is nothing to know again
            found = best_place(prints, index)
            figures.append(_NOWHERE if found is None else found.error)
            right += found is not None and found.item == name and abs(found.seconds - start) < 0.5
    return figures, right


def others(index: SoundIndex, folders: list[Path]) -> list[float]:
    """Figures of recordings that are not in the catalog."""
    figures = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in _MEDIA:
                continue
            try:
                with open_media(path) as container:
                    if not container.streams.audio:
                        continue
                length = min(audio_duration_seconds(path), 60.0)
                prints = print_file(path, start_seconds=0.0, stop_seconds=length)
            except MediaError:
                continue
            if can_tell(prints):
                found = best_place(prints, index)
                figures.append(_NOWHERE if found is None else found.error)
    return figures


def main() -> None:
    """Measure, and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--catalog", type=Path, action="append", required=True)
    arguments.add_argument("--others", type=Path, action="append", required=True)
    arguments.add_argument("--count", type=int, default=100, help="copies of each length")
    options = arguments.parse_args()
    values: dict[str, float] = {"threshold": MOST_ERROR}
    for catalog in options.catalog:
        with open_catalog(catalog) as opened:
            index, library = index_catalog_sounds(opened), opened.library
        for seconds in (2.0, 5.0, 10.0):
            figures, right = copies(index, library, seconds, options.count, seed=0)
            name = f"{catalog.name}_copies_{seconds:g}s"
            values[f"{name}_median"] = float(np.median(figures))
            values[f"{name}_p95"] = float(np.percentile(figures, 95))
            values[f"{name}_largest"] = max(figures)
            values[f"{name}_found"] = float(np.mean(np.array(figures) <= MOST_ERROR))
            values[f"{name}_at_their_place"] = right / len(figures)
        figures = others(index, options.others)
        name = f"{catalog.name}_others"
        values[f"{name}_recordings"] = float(len(figures))
        values[f"{name}_smallest"] = min(figures)
        values[f"{name}_without_a_common_word"] = float(np.mean(np.array(figures) == _NOWHERE))
        values[f"{name}_found"] = float(np.mean(np.array(figures) <= MOST_ERROR))
    Figures(benchmark="sound_leakage", values=values).publish(options.json)


if __name__ == "__main__":
    main()
