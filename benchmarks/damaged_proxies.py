"""What becomes of clips of a damaged proxy, stored as H.264 and as MPEG-4 part 2.

The pictures of one real film are hurt: ranges of zeros, ranges of noise, flipped bits, 300 times
each codec. Each hurt file is read in random order, keeping the decoder open and not, and every
clip compared with the undamaged one and with what an earlier reading of it gave:

    same      the damage did not reach it
    refused   `MediaError`
    wrong     other pictures, the same at each reading
    unstable  a reading that is not what an earlier one of the same clip was

    python -m benchmarks.damaged_proxies --out DIR --json FILE
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from benchmarks.figures import Figures, parser
from benchmarks.proxy_settings import PICTURES, encode_pictures, read_film
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import VideoArray
from toomuchtv.media.proxy_reader import ProxyReader

CODECS = {"h264": "h264_gop_8", "mpeg4": "mpeg4_gop_8_q_4_rd"}
FIRSTS = (0, 3, 7, 16, 20, 30, 50, 77, 100, 130)
FRAMES = 16
FILM = Path("Movies/Sintel (2010)/Sintel (2010)-trailer.mp4")


def hurt(data: bytes, begin: int, stop: int, number: int) -> bytes:
    """Damage bytes `[begin, stop)` in one of four ways; the same number gives the same."""
    rng, hurt_data = np.random.default_rng(number), bytearray(data)
    at, length = int(rng.integers(begin, stop)), int(rng.integers(16, 600))
    if number % 4 == 0:
        hurt_data[at : at + length] = bytes(length)
    elif number % 4 == 1:
        hurt_data[at : at + length] = rng.bytes(length)
    else:
        for place in rng.integers(begin, stop, 3 if number % 4 == 2 else 1):
            hurt_data[place] ^= 1 << int(rng.integers(8))
    return bytes(hurt_data)


def read(reader: ProxyReader, first: int) -> VideoArray | None:
    """A clip, or None where it is refused."""
    try:
        return reader.read_planes(first_frame=first, frames=FRAMES)
    except MediaError:
        return None


def alike(one: VideoArray | None, other: VideoArray | None) -> bool:
    """Whether both are refused, or both are the same pictures."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def outcomes(path: Path, copies: int) -> dict[str, float]:
    """Counts of readings, over all copies of one proxy."""
    with av.open(str(path)) as container:
        places = [p.pos + p.size for p in container.demux(video=0) if p.pos is not None and p.size]
    begin, stop = min(places), places[FIRSTS[-1] + FRAMES]
    whole, data, damaged = _reader(path), path.read_bytes(), path.with_name("damaged.mp4")
    good = {first: read(whole, first) for first in FIRSTS}
    counts = dict.fromkeys(("same", "refused", "wrong", "unstable"), 0.0)
    for number in range(copies):
        damaged.write_bytes(hurt(data, begin, stop, number))
        reader, seen = _reader(damaged), dict[int, VideoArray | None]()
        rng = np.random.default_rng(number)
        for first in rng.choice(FIRSTS, 20).tolist():
            if rng.random() < 0.7:
                reader.clear_cache()
            found = read(reader, first)
            counts[
                "refused" if found is None else "same" if alike(found, good[first]) else "wrong"
            ] += 1
            counts["unstable"] += not alike(found, seen.setdefault(first, found))
        reader.close()
    whole.close()
    return counts


def _reader(path: Path) -> ProxyReader:
    return ProxyReader(path, None, frame_rate=8.0, sample_rate_hz=16_000)


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--library", type=Path, default=Path("../shared/media/library"))
    arguments.add_argument("--copies", type=int, default=300)
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    film = read_film(options.library / FILM)
    if film is None:
        raise SystemExit(f"{FILM} is not at 24 frames a second")
    values: dict[str, float] = {}
    for codec, name in CODECS.items():
        path = options.out / f"{codec}.mp4"
        encode_pictures(film, next(one for one in PICTURES if one.name == name), path)
        found = outcomes(path, options.copies)
        values |= {f"{codec}_{outcome}": count for outcome, count in found.items()}
    Figures(benchmark="damaged_proxies", values=values).publish(options.json)


if __name__ == "__main__":
    main()
