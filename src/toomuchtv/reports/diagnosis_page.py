"""The page of a diagnosis: every figure, and a paragraph that explains how to read it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from toomuchtv.diagnosis.results import (
    ClipDescription,
    Diagnosis,
    NegativePair,
    PolicyNegatives,
    PoolStatistics,
    ProbeResult,
    Summary,
    Unavailable,
)
from toomuchtv.reports.charts import (
    draw_histograms,
    draw_negative_mass,
    draw_probes,
    draw_title_lift,
    encode_frames,
    encode_log_mel,
)
from toomuchtv.reports.page import Card, CardSide, ResultTable, Section, write_page

_FIGURES = {
    "mass_same_item": "softmax mass on the same item",
    "mass_same_title": "softmax mass on the same title",
    "mass_other_titles": "softmax mass on other titles",
    "effective_negatives": "effective number of negatives",
    "easy_negative_share": "share of easy negatives",
    "top1": "top-1 accuracy in the batch",
    "top1_in_title": "top-1 accuracy within the title",
}


def write_diagnosis_page(path: str | os.PathLike[str], diagnosis: Diagnosis) -> None:
    """Write a diagnosis as one page that needs no other file.

    Args:
        path: Path of the HTML file.
        diagnosis: All figures.
    """
    write_page(
        path,
        title=f"Diagnosis of {diagnosis.run.name}",
        lead=_lead(diagnosis),
        sections=[
            _policies_section(diagnosis),
            *_pool_sections(diagnosis.pool),
            _probes_section(diagnosis),
        ],
    )


def _lead(diagnosis: Diagnosis) -> str:
    side = {"held_out": "held-out ", "train": "training ", "all": ""}[diagnosis.split]
    noun = "title" if diagnosis.num_titles == 1 else "titles"
    text = (
        "This page shows how hard the negatives of this run are, and whether its embeddings encode "
        "the title or the events. It was measured on clips of "
        f"{diagnosis.num_titles} {side}{noun} ({diagnosis.num_items} items) at temperature "
        f"{diagnosis.temperature:.3g}, with seed {diagnosis.seed}."
    )
    policy = diagnosis.policies[0]
    if isinstance(policy, PolicyNegatives):
        figures = policy.figures
        text += (
            f" In batches of the run's own policy ({policy.policy}), "
            f"{figures['mass_same_title'].mean:.0%} of the softmax mass of the negatives lies on "
            f"the same title, and {figures['effective_negatives'].mean:.0f} negatives are "
            "effective."
        )
    return " ".join([text, *(f"Note: {note}." for note in diagnosis.notes)])


def _measured(diagnosis: Diagnosis) -> list[PolicyNegatives]:
    return [policy for policy in diagnosis.policies if isinstance(policy, PolicyNegatives)]


def _unavailable_section(heading: str, part: Unavailable) -> Section:
    return Section(heading=heading, text=f"This could not be measured: {part.reason}.")


def _policies_section(diagnosis: Diagnosis) -> Section:
    heading = "Hardness of the negatives"
    measured = _measured(diagnosis)
    unavailable = [policy for policy in diagnosis.policies if isinstance(policy, Unavailable)]
    if not measured:
        return _unavailable_section(heading, unavailable[0])
    header = ["figure"]
    header += [f"{one.policy}{' (of the run)' if one.trained_with else ''}" for one in measured]
    header += [f"{one.policy}, equal embeddings" for one in measured]
    rows = [
        [label]
        + [_mean_and_std(policy.figures[name]) for policy in measured]
        + [_number(policy.equal_embeddings[name].mean) for policy in measured]
        for name, label in _FIGURES.items()
    ]
    batches = " and ".join(
        f"{policy.num_batches} {policy.policy} batches of {policy.batch}" for policy in measured
    )
    sentences = [
        f"The finished model embedded {batches}. The table shows mean and standard deviation over "
        "these batches, and what the same batches would give if all embeddings were equal.",
        *(f"One policy could not be measured: {part.reason}." for part in unavailable),
    ]
    return Section(
        heading=heading,
        text=" ".join(sentences),
        how_to_read="The loss weighs the negatives of a clip by their share of the softmax. The "
        "bars show which negatives have this mass. The pale bars show the split for equal "
        "embeddings. If the same title has more mass than for equal embeddings, clips of one title "
        "are still hard to distinguish, and there is something to learn. The effective number of "
        "negatives is the exponential of the entropy of the shares: if all negatives weigh the "
        "same, it is their number, and if a single one dominates, it is 1. An easy negative has "
        "less than 1% of the mass of an equal split, so it costs computation and teaches nothing. "
        "The paper claims that uniform sampling has many easy negatives and hierarchical sampling "
        "has few.",
        table=ResultTable(header=header, rows=rows),
        charts=[
            (
                draw_negative_mass(measured),
                "Bars of the softmax mass on the same item, the same title and other titles for "
                "each sampling policy",
            )
        ],
    )


def _mean_and_std(value: Summary) -> str:
    return "–" if math.isnan(value.mean) else f"{value.mean:.3g} ± {value.std:.2g}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _pool_sections(pool: PoolStatistics | Unavailable) -> list[Section]:
    if isinstance(pool, Unavailable):
        return [_unavailable_section("Similarities", pool)]
    return [
        Section(
            heading="Similarities",
            text=f"The chart shows the similarities of all pairs of a video and an audio in a pool "
            f"of {pool.num_clips} clips that do not overlap. Every title has the same number of "
            "clips.",
            how_to_read="The positives should lie to the right of all others. If 'same title' lies "
            "to the right of 'other titles', the embeddings encode the title. If it almost reaches "
            "the positives, they encode little else. 'Nearer than own' is how often such a pair is "
            "more similar than the video and the audio of one clip: 0.5 is chance and 0 is "
            "perfect.",
            table=ResultTable(
                header=["pairs", "number", "mean", "std", "nearer than own"],
                rows=[
                    [
                        one.relation,
                        f"{one.num_pairs:,}",
                        *map(_number, (one.mean, one.std, one.nearer_than_own)),
                    ]
                    for one in pool.relations
                ],
            ),
            charts=[
                (
                    draw_histograms(pool.relations),
                    "Histograms of the similarity of positives, same item, same title and other "
                    "titles",
                )
            ],
        ),
        Section(
            heading="Hardest negatives",
            text="These negative pairs have the most similar video and audio.",
            how_to_read="The clip on the left contributes the video, and the clip on the right "
            "contributes the audio. If a person can see that they do not belong together, training "
            "can still improve on this pair. If they do belong together, the pair is a false "
            "negative.",
            cards=[_card(pair, "Video", "Audio") for pair in pool.hardest_negatives],
        ),
        Section(
            heading="Likely false negatives",
            text="In these negative pairs, the two videos are similar and the two audios are "
            "similar. The pairs are sorted by the smaller of the two similarities.",
            how_to_read="Both modalities agree that the two clips show the same thing: an opening "
            "that recurs, two clips of one shot, or the same event twice. If most pairs are of "
            "this kind, increase pair_labels.overlap_seconds or sampling.min_gap_seconds, or "
            "exclude such segments. If the clips are clearly different, the encoders do not "
            "distinguish enough yet.",
            cards=[
                _card(pair, "First clip", "Second clip") for pair in pool.likely_false_negatives
            ],
        ),
        _confusion_section(pool),
    ]


def _card(pair: NegativePair, first: str, second: str) -> Card:
    return Card(
        sides=[_card_side(first, pair.video), _card_side(second, pair.audio)],
        text=f"Relation: {pair.relation}. The similarity of the left video is "
        f"{pair.similarity:.2f} to the right audio and {pair.own_similarity:.2f} to its own audio. "
        f"The two clips agree by {pair.agreement:.2f} in both modalities.",
    )


def _card_side(label: str, clip: ClipDescription) -> CardSide:
    name = " ".join(filter(None, [clip.title, clip.episode, clip.timecode]))
    jpegs = []
    if clip.preview is not None:
        jpegs = [
            (encode_frames(clip.preview), f"Three frames of {name}"),
            (encode_log_mel(clip.preview), f"Log-mel spectrogram of the audio of {name}"),
        ]
    return CardSide(caption=f"{label}: {name}", jpegs=jpegs)


def _confusion_section(pool: PoolStatistics) -> Section:
    heading = "Most confusable titles"
    if isinstance(pool.confusion, Unavailable):
        return _unavailable_section(heading, pool.confusion)
    return Section(
        heading=heading,
        text="The matrix shows how much softmax mass the clips of a row's title put on negatives "
        "of a column's title, as a multiple of an equal split.",
        how_to_read="The value 1 is an equal split. On a dark diagonal, clips are confused with "
        "other clips of their title. A dark cell elsewhere shows two titles that look or sound "
        "alike: they share actors or music, or they are the same film twice. If all values are "
        "near 1, the embeddings do not encode the title, or they encode nothing; the probes below "
        "show which.",
        table=ResultTable(
            header=["title", "other title", "multiple"],
            rows=[[first, second, f"{lift:.2f}"] for first, second, lift in pool.confusion.pairs],
        ),
        charts=[
            (draw_title_lift(pool.confusion), "Matrix of the softmax mass from title to title")
        ],
    )


def _probes_section(diagnosis: Diagnosis) -> Section:
    heading = "Linear probes of title and event"
    measured: list[ProbeResult] = []
    sentences = []
    for target, probes in (("title", diagnosis.title_probes), ("event", diagnosis.event_probes)):
        if isinstance(probes, Unavailable):
            sentences.append(f"The {target} could not be probed: {probes.reason}.")
        else:
            measured += probes
    if not measured:
        return Section(heading=heading, text=" ".join(sentences))
    text = (
        "A linear classifier predicts the title or the event from frozen embeddings. For the "
        "title, it is fitted to the first two fifths of every item and tested on the last two "
        "fifths, and the reverse. For the event, it is fitted to some titles and tested on others. "
        "'palette' is video with shuffled pixels in every frame, and 'structure' is gray video "
        "with an equalized histogram. 'theme' is the lasting spectrum of the audio, and 'events' "
        "is what changes over it."
    )
    return Section(
        heading=heading,
        text=" ".join([text, *sentences]),
        how_to_read="The dotted line is chance. The gray bar is the same architecture with fresh "
        "weights, so only what lies above it was learned. If palette or theme reach almost as far "
        "as everything, the title is recognized by how it looks and sounds and not by what "
        "happens. In a healthy run, the event probe lies well above its gray bar, and the title "
        "probe has not risen much above its own.",
        table=_probe_table(measured),
        charts=[
            (
                draw_probes(measured),
                "Bars of the accuracy of title and event probes by the content of the clips",
            )
        ],
    )


def _probe_table(probes: Sequence[ProbeResult]) -> ResultTable:
    return ResultTable(
        header=["target", "modality", "content", "layer", "weights", "accuracy", "folds", "chance",
                "classes"],
        rows=[
            [
                probe.target,
                probe.modality,
                probe.content,
                probe.layer,
                "trained" if probe.trained else "fresh",
                f"{probe.accuracy:.2f}",
                " ".join(f"{accuracy:.2f}" for accuracy in probe.fold_accuracies),
                f"{probe.chance:.2f}",
                str(probe.num_classes),
            ]
            for probe in probes
        ],
    )  # fmt: skip
