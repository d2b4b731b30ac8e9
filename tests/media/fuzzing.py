"""One damaged file through probe, proxy and decoding, and what that does to the process."""

from __future__ import annotations

import functools
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av.logging

from tests.media.mutants import SEEDS, mutant
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.proxies import choose_audio_track
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

LIMIT_SECONDS = 30.0
LIMIT_BYTES = 2**30
_PROXY_FORMAT = ProxyFormat(short_side=32)
#: A worker's address space ends here, so that a runaway file cannot take the machine with it.
_WALL_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: "used", "refused", or one of `FAILURES`.
        stage: How far it came: probe, proxy, read_clip or proxy_reader.
        reason: In words; empty where it was used.
        peak_bytes: Memory it took at its peak, over what the worker had before.
        seconds: How long it took.
    """

    kind: str
    stage: str
    reason: str
    peak_bytes: int
    seconds: float


#: Kinds of failure, and the figure that counts each.
FAILURES = {
    "worker death": "worker_deaths",
    "hang": "hangs",
    "memory overrun": "memory_overruns",
    "unexpected error": "unexpected_errors",
}


def examine(folder: Path, seeds_folder: Path, seed: int, number: int) -> Outcome:
    """Make one damaged file and run it through everything, in this process."""
    name, data = mutant(seed_bytes(seeds_folder), number, seed=seed)
    av.logging.set_level(None)
    path = folder / name
    path.write_bytes(data)
    resource.setrlimit(resource.RLIMIT_AS, (_WALL_BYTES, resource.RLIM_INFINITY))
    before, begun = _watch_memory(), time.monotonic()
    stages: list[str] = []
    kind, reason = "used", ""
    try:
        for stage, action in _stages(path):
            stages.append(stage)
            action()
    except MediaError as error:
        kind, reason = "refused", str(error)
    except MemoryError as error:
        kind, reason = "memory overrun", f"{error!r}\n{traceback.format_exc()}"
    except Exception:  # noqa: BLE001 - finding these is the point
        kind, reason = "unexpected error", traceback.format_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        path.unlink()
        for made in folder.glob(f"{path.name}.*"):
            made.unlink()
    peak_bytes = _peak_memory() - before
    if peak_bytes > LIMIT_BYTES:
        kind, reason = "memory overrun", f"{peak_bytes / 2**20:.0f} MiB; {reason}"
    return Outcome(
        kind=kind,
        stage=stages[-1],
        reason=reason.replace(str(folder), "").replace(name, "FILE"),
        peak_bytes=peak_bytes,
        seconds=time.monotonic() - begun,
    )


def _stages(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a file goes through, each step only if the one before did not refuse it."""
    probes = []
    yield "probe", lambda: probes.append(probe_file(path))
    probe = probes[0]
    track = choose_audio_track(probe.audio_tracks)
    video_path = path.with_name(path.name + ".video.mp4")
    audio_path = None if track is None else path.with_name(path.name + ".audio.mp4")
    summary = []
    yield (
        "proxy",
        lambda: summary.append(
            write_proxy(path, video_path, audio_path, _PROXY_FORMAT, audio_track=track or 0)
        ),
    )
    for moment in (0.0, min(probe.duration_seconds / 2, 1e6)):
        yield (
            "read_clip",
            functools.partial(
                read_clip,
                path,
                start_seconds=moment,
                frames=4,
                frame_rate=8.0,
                audio_seconds=0.5,
                short_side=32,
                audio_track=track or 0,
            ),
        )
    yield "proxy_reader", lambda: _read_proxy(video_path, audio_path, summary[0].num_frames)


def _read_proxy(video_path: Path, audio_path: Path | None, num_frames: int) -> None:
    reader = ProxyReader(
        video_path,
        audio_path,
        frame_rate=_PROXY_FORMAT.frame_rate,
        sample_rate_hz=_PROXY_FORMAT.sample_rate_hz,
    )
    try:
        reader.read_planes(first_frame=num_frames // 2, frames=1)
        reader.read_waveform(first_sample=0, num_samples=4000)
    finally:
        reader.close()


@functools.cache
def seed_bytes(folder: Path) -> list[bytes]:
    """Read the whole files that `write_seeds` wrote."""
    return [(folder / seed.name).read_bytes() for seed in SEEDS]


def _watch_memory() -> int:
    """Start the peak anew, and say what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


def examine_isolated(
    folder: Path, seeds_folder: Path, seed: int, number: int, tell: Callable[[float], None]
) -> Outcome:
    """`examine`, as a job of `run_isolated`."""
    own = folder / str(os.getpid())
    own.mkdir(exist_ok=True)
    return examine(own, seeds_folder, seed, number)


def fuzz(
    numbers: Iterable[int], *, seed: int, seeds_folder: Path, num_workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Run files through worker processes; yields (number, outcome) as they end."""
    # Memory before disk: twenty thousand small files are written and removed.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        results = run_isolated(
            functools.partial(examine_isolated, Path(folder), seeds_folder, seed),
            numbers,
            num_workers=num_workers,
            silence_seconds=LIMIT_SECONDS,
        )
        with closing(results):
            for number, result in results:
                if isinstance(result, Failure):
                    hang = "no sign of life" in result.reason
                    yield (
                        number,
                        Outcome(
                            kind="hang" if hang else "worker death",
                            stage="?",
                            reason=result.reason,
                            peak_bytes=0,
                            seconds=LIMIT_SECONDS if hang else 0.0,
                        ),
                    )
                else:
                    yield number, result
