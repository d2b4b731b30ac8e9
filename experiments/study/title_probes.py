"""Linear probes of what identifies a title: its picture, its palette, its sound, its theme music.

The clips come from the library that a condition trains on. A probe is fitted to the first two
fifths of every film or episode and tested on the last two fifths, and the other way around, so that
training and test clips are at least a fifth of an item apart. The theme music is that of the
rendered titles, without any other sound: the probe is fitted to the first half of its phrase of
four bars and tested on the second half, and the other way around.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.rendered_tv import RenderedTVConfig
from experiments.rendered_tv.audio import MUSIC_LEVEL
from experiments.rendered_tv.music import loop_from, render_theme
from experiments.rendered_tv.titles import Title, draw_title
from toomuchtv._internal.progress import no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.diagnosis.embedding import ClipSource, Embedder, ProgressCounter
from toomuchtv.diagnosis.probes import ProbeClips, cross_validate, draw_title_clips
from toomuchtv.diagnosis.results import Unavailable
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.training.run_config import Config

#: Names of all probes of the question "Why?", video first, and how people read them.
PROBES = {
    "title_video": "title, from video",
    "title_palette": "title, from the palette alone",
    "actions": "events (actions), from video",
    "title_audio": "title, from audio",
    "title_music": "title, from its theme music alone",
    "sounds": "events (sounds), from audio",
}
#: Modality and content of the probes on clips of the library.
_OF_CLIPS: dict[str, tuple[Modality, str]] = {
    "title_video": ("video", "everything"),
    "title_palette": ("video", "palette"),
    "title_audio": ("audio", "everything"),
}
#: Number of clips of the probes. They are divided evenly among at most 32 titles.
_NUM_CLIPS = 384
#: The theme music of at most this many titles is probed, with this many clips per fold.
_MAX_MUSIC_TITLES, _MUSIC_CLIPS_PER_FOLD = 32, 6
_CHUNK = 64

#: Accuracy and chance by the name of a probe.
Accuracies = dict[str, tuple[float, float]]


def probe_titles(
    pretrained: PretrainedEncoder,
    catalog: Path,
    config: Config,
    rendered: RenderedTVConfig,
    *,
    seed: int,
) -> Accuracies:
    """Probe the features of both encoders for the title.

    Args:
        pretrained: The encoders.
        catalog: The catalog of the rendered library, whose titles are probed.
        config: The settings of the training.
        rendered: What the library was rendered from, for the theme music of its titles.
        seed: Seed of the drawn clips. Equal seeds give equal clips for all encoders.

    Returns:
        Accuracy and chance. Probes for which the titles are too short or too few are omitted.
    """
    found: Accuracies = {}
    with open_catalog(catalog) as opened:
        source = ClipSource(
            opened, opened.snapshot(), config.sampling, config.clip, config.transform.log_mel
        )
        clips = draw_title_clips(source, num_clips=_NUM_CLIPS, seed=seed)
        if not isinstance(clips, Unavailable):
            embedder = Embedder(source, pretrained, ProgressCounter(no_progress, 1))
            embedded = embedder.embed(clips.clips, "title probe", ablations=True)
            readable = clips[embedded.readable]
            for name, content in _OF_CLIPS.items():
                found[name] = _accuracy(embedded.features[content], readable)
    themes = list(music_clips(rendered, config.clip, seed=seed))
    if len({spec.title for spec, _ in themes}) > 1:
        waveforms = torch.stack([waveform for _, waveform in themes])
        chunks = torch.split(waveforms, _CHUNK)
        features = torch.cat([pretrained.audio_features(chunk).cpu() for chunk in chunks])
        folds = [index // _MUSIC_CLIPS_PER_FOLD % 2 for index in range(len(themes))]
        labeled = ProbeClips.collect(
            (spec, str(spec.title), fold) for (spec, _), fold in zip(themes, folds, strict=True)
        )
        found["title_music"] = _accuracy(features, labeled)
    return found


def _accuracy(features: Tensor, clips: ProbeClips) -> tuple[float, float]:
    accuracies, chance = cross_validate(features, clips)
    return float(np.mean(accuracies)), chance


def music_clips(
    rendered: RenderedTVConfig, clip: ClipFormat, *, seed: int
) -> Iterator[tuple[ClipSpec, Tensor]]:
    """Yield clips of the theme music of a library's titles, each without any other sound.

    A theme is a phrase of four bars, repeated. For each title, the first `_MUSIC_CLIPS_PER_FOLD`
    clips are from the first two bars and as many are from the other two. All have the same level,
    so that the loudness of a title does not give it away.

    Yields:
        The spec, whose item and title are the number of the title, and whose start is a time in
        the music; and the waveform, float32 `[num_samples]`.
    """
    rng = np.random.default_rng([seed, 3])
    titles = _titles(rendered)
    for number in sorted(rng.permutation(len(titles))[:_MAX_MUSIC_TITLES].tolist()):
        loop = MUSIC_LEVEL * render_theme(titles[number].theme, clip.sample_rate_hz)
        half_seconds = len(loop) / clip.sample_rate_hz / 4
        longest = max(half_seconds - clip.audio_seconds, 0.0)
        for fold in (0, 1):
            for offset in rng.uniform(0.0, longest, _MUSIC_CLIPS_PER_FOLD).tolist():
                start = fold * half_seconds + offset
                wave = loop_from(loop, start, clip.num_samples, clip.sample_rate_hz)
                spec = ClipSpec(item=number, title=number, start_seconds=start)
                yield spec, torch.from_numpy(np.ascontiguousarray(wave))


def _titles(rendered: RenderedTVConfig) -> list[Title]:
    counts = {"movie": rendered.movies, "show": rendered.shows, "clip": rendered.clips}
    return [
        draw_title(rendered, group, index)
        for group, count in counts.items()
        for index in range(count)
    ]
