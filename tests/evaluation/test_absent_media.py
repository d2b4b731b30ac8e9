"""What is not in a file is never scored as silence, and views lie on what is there."""

from __future__ import annotations

import dataclasses
import json
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.evaluation.test_datasets import write
from tests.media_files import SAMPLE_RATE_HZ, tone, write_film
from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.evaluation.benchmark import LabeledClip
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders.baselines import MeanLogMel
from toomuchtv.evaluation.encoders.interface import Encoder
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.features import extract_usable
from toomuchtv.evaluation.reading import read_audio_views, read_video_views
from toomuchtv.evaluation.signatures import clip_words
from toomuchtv.evaluation.views import AudioViews, VideoViews
from toomuchtv.media.extent import measure_extent
from toomuchtv.reports.evaluation_page import write_evaluation_page

RATE = SAMPLE_RATE_HZ
LOG_MEL = Encoder(name="x", fingerprint="x", pretraining="x", audio=MeanLogMel())


def write_sound(path: Path, hz: float, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 9_000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_float_wave(path: Path, samples: NDArray[np.float32]) -> None:
    data = samples.astype("<f4").tobytes()
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 3, 1, RATE, 4 * RATE, 4, 32)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def write_flac(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        samples = (9_000 * tone(0.5)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode()])


def clip_of(path: Path, start: float = 0.0, stop: float | None = None) -> LabeledClip:
    return LabeledClip(
        path=path, labels=("a",), source="a", group="a", start_seconds=start, stop_seconds=stop
    )


def main_hz(samples: Tensor) -> float:
    power = torch.fft.rfft(samples).abs()
    return float(power.argmax()) * RATE / len(samples)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two classes with two sounds to train on and two to test on."""
    rows = ["path,label,split,start_seconds,stop_seconds"]
    for side in ("train", "test"):
        for label, hz in (("low", 300), ("high", 2_500)):
            for number in range(2):
                path = write_sound(tmp_path / f"{side}{label}{number}.wav", hz + number)
                rows.append(f"{path.name},{label},{side},,")
    write(tmp_path / "labels.csv", "\n".join(rows) + "\n")
    return tmp_path


def add(sounds: Path, row: str) -> None:
    with (sounds / "labels.csv").open("a") as file:
        file.write(row + "\n")


def unusable(sounds: Path) -> tuple[list[str], int]:
    """Return the clips of the table that cannot be evaluated, and the number of the others.

    Whatever is not usable must end an evaluation without --allow-missing.
    """
    read = read_benchmark("csv", sounds)
    views = (AudioViews(times=2), AudioViews(times=2))
    checked, check = check_benchmark(read, "audio", allow_missing=True)
    used, features, failed = extract_usable(
        LOG_MEL, checked, views, output="features", allow_missing=True
    )
    assert len(features[0]) == len(used.clips)
    found = [*check.unreadable, *failed]
    if check.unreadable:
        with pytest.raises(BenchmarkError):
            check_benchmark(read, "audio", allow_missing=False)
    if failed:
        with pytest.raises(BenchmarkError):
            extract_usable(LOG_MEL, checked, views, output="features", allow_missing=False)
    assert not any(str(sounds) in text for text in found)
    return found, len(used.clips)


def test_a_sound_without_a_sample_or_with_a_nan_is_unreadable(sounds: Path) -> None:
    write_sound(sounds / "none.wav", 300, seconds=0.0)
    write_flac(sounds / "gone.flac")
    data = (sounds / "gone.flac").read_bytes()
    assert len(data) > 1_000
    header = data.index(b"\xff\xf8")  # the first frame
    (sounds / "gone.flac").write_bytes(data[:header] + bytes(len(data) - header))
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        samples = tone(0.5)
        samples[400] = value
        write_float_wave(sounds / f"{name}.wav", samples)
    for name in ("none.wav", "gone.flac", "nan.wav", "inf.wav"):
        add(sounds, f"{name},low,train,,")
    found, num_used = unusable(sounds)
    assert num_used == 8
    names = sorted(text.partition(":")[0].partition(" ")[0] for text in found)
    assert names == ["gone.flac", "inf.wav", "nan.wav", "none.wav"]


@pytest.mark.parametrize(
    ("start", "stop", "is_usable"),
    [(0, 0.5, True), (0.1, 0.4, True), (0, 1.2, True), (0.5, 1, False), (100, 400, False),
     (30, 32, False), (0, 500, False)],
)  # fmt: skip
def test_a_clip_that_its_file_does_not_contain_is_named_with_its_line(
    sounds: Path, start: float, stop: float, is_usable: bool
) -> None:
    add(sounds, f"trainlow0.wav,low,train,{start},{stop}")
    found, num_used = unusable(sounds)
    assert num_used == 8 + is_usable
    assert [("line 10" in text, "ends at 0.5 s" in text) for text in found] == [(True, True)] * (
        not is_usable
    )


def test_views_lie_on_the_audio_that_is_there(tmp_path: Path) -> None:
    short = write_film(tmp_path / "short.mkv", seconds=2.0, audio_stop_seconds=0.6)
    late = write_film(tmp_path / "late.mkv", seconds=2.0, audio_start_seconds=1.4)
    views = AudioViews(seconds=0.2, times=4)
    assert measure_extent(short, "audio") == pytest.approx((0.0, 0.6), abs=0.1)
    assert measure_extent(late, "audio") == pytest.approx((1.4, 2.0), abs=0.1)
    for path in (short, late):
        waveforms = read_audio_views(clip_of(path), views, RATE, seed=0)
        assert waveforms.square().mean(dim=1).sqrt().min() > 0.2
    # Of a labeled interval, the part that has audio is heard.
    waveforms = read_audio_views(clip_of(late, 0.0, 2.0), views, RATE, seed=0)
    assert waveforms.square().mean(dim=1).sqrt().min() > 0.2
    with pytest.raises(NoAudioError):
        read_audio_views(clip_of(late, 0.0, 1.0), views, RATE, seed=0)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("offset", [0, 3_600])
def test_a_clip_is_heard_from_where_its_picture_begins(
    tmp_path: Path, suffix: str, offset: int
) -> None:
    mp4 = write_film(tmp_path / "film.mp4", seconds=2.0)
    film = tmp_path / f"film{suffix}"
    write_film(film, seconds=2.0, options={"output_ts_offset": str(offset)})
    found = read_audio_views(clip_of(film), AudioViews(seconds=0.3, times=4), RATE, seed=0)
    # The tone rises each second.
    assert [main_hz(one) for one in found] == pytest.approx([400, 400, 500, 500], abs=4)
    second = read_audio_views(clip_of(film, 1.2, 1.8), AudioViews(seconds=0.4), RATE, seed=0)
    assert main_hz(second[0]) == pytest.approx(500, abs=4)
    found_words, words = (clip_words(clip_of(path), "audio") for path in (film, mp4))
    num = min(len(found_words.words), len(words.words))
    assert num > 20
    differing = np.bitwise_count(found_words.words[:num] ^ words.words[:num]).mean() / 32
    assert differing < 0.35  # by chance half of the bits differ
    frames = VideoViews(frames=2, frame_rate=12.0, short_side=16, crop=16, times=3)
    pictures = [read_video_views(clip_of(path), frames, seed=0).float() for path in (film, mp4)]
    assert (pictures[0] - pictures[1]).abs().mean() < 3


def test_frames_that_are_gone_are_not_replaced_by_the_last_one(tmp_path: Path) -> None:
    """Views of a short clip lie on the frames that are there; of others the clip is unreadable."""
    film = write_film(tmp_path / "film.mp4", seconds=2.0, languages=())
    data = film.read_bytes()
    begin, stop = data.index(b"mdat") + 4, data.index(b"moov") - 4
    at = (begin + stop) // 2
    film.write_bytes(data[:at] + bytes(stop - at) + data[stop:])
    few, many = (
        VideoViews(frames=frames, frame_rate=12.0, short_side=16, crop=16, times=3)
        for frames in (2, 8)
    )
    views = read_video_views(clip_of(film), many, seed=0).float().mean(dim=(2, 3, 4))
    assert (views.diff(dim=1) > 3).all()
    with pytest.raises(MediaError):
        read_video_views(clip_of(film), few, seed=0)


def test_a_whole_video_of_audioset_is_cut_to_its_segment(tmp_path: Path) -> None:
    labels = 'index,mid,display_name\n0,/m/1,Speech\n1,/m/2,"Dog, bark"\n'
    write(tmp_path / "class_labels_indices.csv", labels)
    segments = 'whole, 1.000, 2.000, "/m/1"\ncut, 30.000, 31.000, "/m/2"\n'
    segments += 'short, 0.000, 0.500, "/m/1"\nlost, 30.000, 40.000, "/m/1"\n'
    write(tmp_path / "eval_segments.csv", f"# Segments\n{segments}")
    write(tmp_path / "balanced_train_segments.csv", 'train, 0.000, 1.000, "/m/1,/m/2"\n')
    write_film(tmp_path / "whole.mp4", seconds=4.0)
    write_film(tmp_path / "Ycut.mp4", seconds=1.0)
    write_sound(tmp_path / "train_000000.wav", 300, seconds=1.0)
    write_sound(tmp_path / "short_0_500.wav", 300, seconds=0.5)
    write_sound(tmp_path / "lost.wav", 300, seconds=12.0)
    read = read_benchmark("audioset", tmp_path)
    assert not read.missing
    with pytest.raises(BenchmarkError, match=r"lost.wav \(eval_segments.csv, line 5\)"):
        check_benchmark(read, "audio", allow_missing=False)
    checked, _ = check_benchmark(read, "audio", allow_missing=True)
    intervals = {clip.path.stem: (clip.start_seconds, clip.stop_seconds) for clip in checked.clips}
    assert intervals == {
        "whole": (1.0, 2.0), "Ycut": (0.0, None), "short_0_500": (0.0, None),
        "train_000000": (0.0, None),
    }  # fmt: skip
    whole = next(clip for clip in checked.clips if clip.path.stem == "whole")
    (waveform,) = read_audio_views(whole, AudioViews(seconds=1.0), RATE, seed=0)
    assert main_hz(waveform) == pytest.approx(500, abs=4)  # the tone of the second second


def test_files_of_one_name_are_chosen_by_the_modality(tmp_path: Path) -> None:
    rows = []
    for number in range(4):
        name = f"id{number}_{number:06d}"
        write_film(tmp_path / "video" / f"{name}.mp4", seconds=0.3, languages=())
        write_sound(tmp_path / "audio" / f"{name}.wav", 300.0, seconds=0.3)
        rows.append(f"id{number},{number},class{number % 2},{'train' if number < 2 else 'test'}")
    write(tmp_path / "vggsound.csv", "\n".join(rows) + "\n")
    read = read_benchmark("vggsound", tmp_path)
    for modality, suffix in (("video", ".mp4"), ("audio", ".wav")):
        checked, check = check_benchmark(read, modality, allow_missing=False)  # type: ignore[arg-type]
        assert {clip.path.suffix for clip in checked.clips} == {suffix}
        assert not check.unreadable


def test_a_folder_of_sounds_is_evaluated_by_its_sound(tmp_path: Path) -> None:
    for side in ("train", "test"):
        for label, hz in (("low", 300), ("high", 2_500)):
            write_sound(tmp_path / side / label / "x.wav", hz)
    assert read_benchmark("folder", tmp_path).modalities == ("audio",)
    (tmp_path / "train" / "low" / "x.wav").rename(tmp_path / "train" / "low" / "x.mp4")
    with pytest.raises(
        BenchmarkError, match="4 of them are sounds: evaluate those with --modality audio"
    ):
        check_benchmark(read_benchmark("folder", tmp_path), "video", allow_missing=False)


def test_a_result_and_its_page_do_not_say_where_the_data_are(sounds: Path, tmp_path: Path) -> None:
    outside = write_sound(tmp_path.parent / "outside.wav", 310)
    add(sounds, f"{outside},low,test,,")
    add(sounds, "gone.wav,low,test,,")
    (sounds / "Bad: file.wav").write_bytes(b"no sound")
    add(sounds, "Bad: file.wav,low,test,,")
    add(sounds, "trainlow1.wav,low,train,200,300")
    result = evaluate(
        None, "csv", sounds, encoder="log-mel", protocol="knn", allow_missing=True,
        out=sounds / "out",
    )  # fmt: skip
    assert result.data is not None
    assert (result.data["clips"], result.data["missing"], result.data["unreadable"]) == (9, 1, 2)
    assert result.data["complete"] is False
    assert result.data["root"] == sounds.name
    (folder,) = (sounds / "out").iterdir()
    write_evaluation_page(folder / "page.html", result)
    for name in ("result.json", "predictions.json", "page.html"):
        text = (folder / name).read_text()
        assert str(sounds.parent) not in text
        assert str(tmp_path.parent) not in text
    json.dumps(dataclasses.asdict(result), default=str)


def test_a_name_with_a_colon_is_no_address(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "concat: film (2001).wav"
    (sounds / "trainlow0.wav").rename(sounds / name)
    table = (sounds / "labels.csv").read_text()
    (sounds / "labels.csv").write_text(table.replace("trainlow0.wav", name))
    monkeypatch.chdir(sounds)
    checked, check = check_benchmark(read_benchmark("csv", Path()), "audio", allow_missing=False)
    assert (len(checked.clips), check.unreadable) == (8, ())
    assert checked.relative_key(0) == name
    assert read_audio_views(checked.clips[0], AudioViews(seconds=0.2), RATE, seed=0).std() > 0.1
