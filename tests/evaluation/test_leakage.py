"""A clip cut from a film of the catalog is found there, coded anew or not; another is not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from toomuchtv.evaluation.leakage import SignedItem, find_clip
from toomuchtv.evaluation.signatures import file_signatures, frame_signatures


def scenery(seconds: float, seed: int) -> NDArray[np.uint8]:
    """Moving blobs, 8 frames a second, uint8 `[T, 72, 128, 3]`: no two moments alike."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:72, 0:128]
    frames = []
    places = rng.uniform(0, 1, (12, 2)) * (72, 128)
    speed, size = rng.normal(0, 6, (12, 2)), rng.uniform(6, 20, 12)
    color = rng.uniform(-120, 120, (12, 3))
    for _ in range(round(seconds * 8)):
        picture = np.full((72, 128, 3), 120.0)
        for place, width, tint in zip(places, size, color, strict=True):
            apart = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
            picture += np.exp(-apart / width**2)[..., None] * tint
        places = (places + speed) % (72, 128)
        frames.append(picture.clip(0, 255).astype(np.uint8))
    return np.stack(frames)


def write(path: Path, video: NDArray[np.uint8], *, quality: str = "18", width: int = 128) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": quality})
        stream.width, stream.height, stream.pix_fmt = width, width * 72 // 128, "yuv420p"
        for picture in video:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[SignedItem]:
    folder = tmp_path_factory.mktemp("films")
    made = []
    for seed in (1, 2):
        path = write(folder / f"{seed}.mp4", scenery(20, seed))
        signed = file_signatures(path, start_seconds=0.0, stop_seconds=20.0, frame_rate=4.0)
        made.append(SignedItem(name=f"film {seed}", signatures=signed))
    return made


@pytest.mark.parametrize(("quality", "width"), [("18", 128), ("35", 128), ("23", 96)])
def test_a_cut_is_found_where_it_lies(
    items: list[SignedItem], tmp_path: Path, quality: str, width: int
) -> None:
    video = scenery(20, 2)[6 * 8 : 10 * 8]
    path = write(tmp_path / "cut.mp4", video, quality=quality, width=width)
    signed = file_signatures(path, start_seconds=0.0, stop_seconds=4.0, frame_rate=2.0)
    found = find_clip(signed, items)
    assert found is not None
    name, seconds, share = found
    assert name == "film 2"
    assert seconds == pytest.approx(6.0, abs=0.6)
    assert share > 0.7


def test_what_is_not_in_it_is_not_found(items: list[SignedItem], tmp_path: Path) -> None:
    for seed in range(3, 8):
        path = write(tmp_path / f"{seed}.mp4", scenery(4, seed))
        signed = file_signatures(path, start_seconds=0.0, stop_seconds=4.0, frame_rate=2.0)
        assert find_clip(signed, items) is None


def test_plain_frames_tell_nothing(items: list[SignedItem]) -> None:
    black = np.zeros((8, 72, 128, 3), np.uint8)
    bits, telling = frame_signatures(black)
    assert bits.shape == (8,)
    assert not telling.any()


def test_brightness_and_contrast_hardly_matter() -> None:
    video = scenery(2, 5)
    bits, _ = frame_signatures(video)
    duller, _ = frame_signatures((video * 0.7 + 40).astype(np.uint8))
    assert int(np.bitwise_count(bits ^ duller).max()) <= 6
