"""The transfer sets: labeled clips from titles that the library does not have.

`actions/` is laid out as UCF101, with picture and sound; `sounds/` as ESC-50. A group (`gNN`,
`src_file`) is one title, and no split or fold has a title on both sides.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from experiments.rendered_tv.config import NUM_FOLDS, NUM_SPLITS, RenderedTVConfig
from experiments.rendered_tv.episode import write_clip
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.film_file import write_film, write_sound, write_text
from experiments.rendered_tv.picture import Cinematographer
from experiments.rendered_tv.soundtrack import SoundMixer
from experiments.rendered_tv.titles import draw_title
from experiments.rendered_tv.truth import truth_text


def render_transfer_title(out: Path, config: RenderedTVConfig, index: int) -> int:
    """Render one title's clips of both sets; return how many files that were.

    Clips that are there already stay.
    """
    title = draw_title(config, "transfer", index)
    camera, mixer = Cinematographer(config, title), SoundMixer(config, title)
    written = 0
    for kind in config.kinds:
        for clip in _clips(config, index):
            path = Path("transfer/actions/videos") / action_name(kind, index, clip)
            sidecar = out / "truth" / path.with_suffix(".json")
            if not sidecar.exists():
                script = write_clip(config, title, kind, clip, config.transfer_clip_seconds)
                write_film(
                    out / path,
                    camera.shoot(script),
                    mixer.mix(script),
                    frame_rate=config.frame_rate,
                    sample_rate_hz=config.sample_rate_hz,
                    name=path.stem,
                )
                write_text(sidecar, truth_text(config, title, script))
            sound = out / "transfer/sounds/audio" / sound_name(config, kind, index, clip)
            if not sound.exists():
                # clips counted from 1000 on: what is heard here is not in the action clips
                script = write_clip(config, title, kind, 1000 + clip, config.transfer_sound_seconds)
                write_sound(sound, mixer.mix(script), config.sample_rate_hz)
            written += 2
    return written


def action_name(kind: str, index: int, clip: int) -> str:
    """Return a clip's path as UCF101's lists have it: `Bell/v_Bell_g01_c01.mp4`."""
    label = EVENT_KINDS[kind].label
    return f"{label}/v_{label}_g{index + 1:02d}_c{clip + 1:02d}.mp4"


def sound_name(config: RenderedTVConfig, kind: str, index: int, clip: int) -> str:
    """Return a clip's name as ESC-50 has it: `{fold}-{source}-{take}-{target}.wav`."""
    take = chr(ord("A") + clip)
    return f"{_fold(index)}-{_source(index)}-{take}-{sorted(config.kinds).index(kind)}.wav"


def write_transfer_lists(out: Path, config: RenderedTVConfig) -> None:
    """Write UCF101's split lists and ESC-50's table."""
    classes = sorted(config.kinds)
    lists = out / "transfer/actions/ucfTrainTestlist"
    labels = [f"{k} {EVENT_KINDS[kind].label}\n" for k, kind in enumerate(classes, start=1)]
    write_text(lists / "classInd.txt", "".join(labels))
    for split in range(1, NUM_SPLITS + 1):
        train, test = [], []
        for number, kind in enumerate(classes, start=1):
            for index in range(config.transfer_titles):
                for clip in _clips(config, index):
                    name = action_name(kind, index, clip)
                    if index % NUM_SPLITS == split - 1:
                        test.append(f"{name}\n")
                    else:
                        train.append(f"{name} {number}\n")
        write_text(lists / f"trainlist{split:02d}.txt", "".join(train))
        write_text(lists / f"testlist{split:02d}.txt", "".join(test))
    _write_sound_table(out / "transfer/sounds/meta/esc50.csv", config, classes)


def _write_sound_table(path: Path, config: RenderedTVConfig, classes: list[str]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("filename", "fold", "target", "category", "esc10", "src_file", "take"))
    for index in range(config.transfer_titles):
        for target, kind in enumerate(classes):
            for clip in _clips(config, index):
                name, take = sound_name(config, kind, index, clip), chr(ord("A") + clip)
                table.writerow((name, _fold(index), target, kind, False, _source(index), take))
    write_text(path, text.getvalue())


def _clips(config: RenderedTVConfig, index: int) -> range:
    """Clips of each kind that a title gives: they are dealt to the titles in turn."""
    each, rest = divmod(config.transfer_clips_per_kind, config.transfer_titles)
    return range(each + (index < rest))


def _fold(index: int) -> int:
    return index % NUM_FOLDS + 1


def _source(index: int) -> int:
    return 100001 + index
