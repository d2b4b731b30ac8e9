"""The clip record: one by one, as arrays, and as the tensor that processes gather."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.data.clip_specs import TENSOR_COLUMNS, ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels

CLIPS = st.lists(
    st.builds(
        ClipSpec,
        item=st.integers(0, 2**31),
        title=st.integers(0, 2**31),
        start_seconds=st.floats(0.0, 1e5),
        audio_track=st.integers(0, 255),
        recurrence=st.integers(-1, 2**31),
        seed=st.integers(0, 2**64 - 1),
    ),
    min_size=1,
    max_size=8,
)


@given(CLIPS, st.data())
def test_specs_hold_each_clip_unchanged(clips: list[ClipSpec], data: st.DataObject) -> None:
    specs = ClipSpecs.from_clips(clips)
    assert list(specs) == clips
    assert [specs[index] for index in range(len(specs))] == clips
    cut = data.draw(st.integers(0, len(clips)))
    assert list(ClipSpecs.concatenate([specs[:cut], specs[cut:]])) == clips
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(clips), max_size=len(clips))))
    assert list(specs[keep]) == [clip for clip, kept in zip(clips, keep, strict=True) if kept]
    order = np.array(data.draw(st.permutations(range(len(clips)))))
    assert list(specs[order]) == [clips[index] for index in order]


@given(CLIPS)
def test_the_tensor_of_specs_is_exact(clips: list[ClipSpec]) -> None:
    valid = torch.arange(len(clips)) % 2 == 0
    table = ClipSpecs.from_clips(clips).to_tensor(valid)
    assert table.dtype == torch.float64
    expected = [
        [*(float(getattr(clip, name)) for name in TENSOR_COLUMNS[:-1]), float(index % 2 == 0)]
        for index, clip in enumerate(clips)
    ]
    assert table.tolist() == expected
    labels = PairLabels(PairLabelConfig(), table)
    assert labels.title.tolist() == [clip.title for clip in clips]
    assert labels.item.tolist() == [clip.item for clip in clips]
    assert torch.equal(labels.valid, valid)


def test_a_part_of_a_batch_keeps_its_columns_together() -> None:
    clips = [ClipSpec(item=index, title=0, start_seconds=0.0, seed=index) for index in range(4)]
    batch = ClipBatch(
        specs=ClipSpecs.from_clips(clips),
        valid=torch.tensor([True, False, True, True]),
        video=torch.arange(4)[:, None],
        waveform=torch.arange(4)[:, None],
        step=7,
    )
    part = batch[1:3]
    assert (len(part), part.step) == (2, 7)
    assert list(part.specs) == clips[1:3]
    assert part.valid.tolist() == [False, True]
    assert part.video.tolist() == part.waveform.tolist() == [[1], [2]]
    assert part.spec_tensor()[:, -1].tolist() == [0.0, 1.0]
