"""Running damaged files through probe, proxy and decoding, each in a process that is watched."""

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
# Limit of a worker's address space, which protects the machine.
_ADDRESS_SPACE_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result for one file.

    Attributes:
        kind: "used", "refused", or one of `FAILURES`.
        stage: The last stage that was begun: probe, proxy, read_clip or proxy_reader.
        reason: The error message; empty if the file was used.
        peak_bytes: Peak memory above that of the worker before.
        seconds: Elapsed time.
    """

    kind: str
    stage: str
    reason: str
    peak_bytes: int
    seconds: float


# Kinds of failure, and the key of the figure that counts each.
FAILURES = {
    "worker death": "worker_deaths",
    "hang": "hangs",
    "memory overrun": "memory_overruns",
    "unexpected error": "unexpected_errors",
}


def run_mutant(folder: Path, seeds_folder: Path, seed: int, number: int) -> Outcome:
    """Write one damaged file and run it through all stages in this process."""
    name, data = mutant(seed_bytes(seeds_folder), number, seed=seed)
    av.logging.set_level(None)
    path = folder / name
    path.write_bytes(data)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, resource.RLIM_INFINITY))
    before, begun = _reset_peak_memory(), time.monotonic()
    stages: list[str] = []
    kind, reason = "used", ""
    try:
        _run_stages(path, stages)
    except MediaError as error:
        kind, reason = "refused", str(error)
    except MemoryError as error:
        kind, reason = "memory overrun", f"{error!r}\n{traceback.format_exc()}"
    except Exception:  # noqa: BLE001 - the test exists to find these
        kind, reason = "unexpected error", traceback.format_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for written in [path, *folder.glob(f"{path.name}.*")]:
            written.unlink()
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


def _run_stages(path: Path, stages: list[str]) -> None:
    """Run a file through the package; append the name of each stage when it begins."""
    stages.append("probe")
    probe = probe_file(path)
    stages.append("proxy")
    track = choose_audio_track(probe.audio_tracks)
    track_index = track.index if track else None
    video_path = path.with_name(path.name + ".video.mp4")
    audio_path = None if track is None else path.with_name(path.name + ".audio.mp4")
    summary = write_proxy(path, video_path, audio_path, _PROXY_FORMAT, audio_track=track_index)
    stages.append("read_clip")
    for start_seconds in (0.0, min(probe.duration_seconds / 2, 1e6)):
        read_clip(
            path, start_seconds=start_seconds, frames=4, frame_rate=8.0, audio_seconds=0.5,
            short_side=32, audio_track=track_index,
        )  # fmt: skip
    stages.append("proxy_reader")
    _read_proxy(video_path, audio_path, summary.num_frames)


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


def _reset_peak_memory() -> int:
    """Reset the peak of the resident memory, and return what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


def _run_mutant_as_job(
    folder: Path, seeds_folder: Path, seed: int, number: int, report: Callable[[float], None]
) -> Outcome:
    worker_folder = folder / str(os.getpid())
    worker_folder.mkdir(exist_ok=True)
    return run_mutant(worker_folder, seeds_folder, seed, number)


def fuzz(
    numbers: Iterable[int], *, seed: int, seeds_folder: Path, num_workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Run damaged files in worker processes; yield (number, outcome) in the order of completion."""
    # Twenty thousand small files are written and removed, which memory does faster than a disk.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        results = run_isolated(
            functools.partial(_run_mutant_as_job, Path(folder), seeds_folder, seed),
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
