"""The page of a diagnosis: every figure with a sentence that says how to read it."""

from __future__ import annotations

import math
from pathlib import Path

from toomuchtv.diagnosis.results import (
    Diagnosis,
    Missing,
    Moment,
    Pair,
    PolicyFigures,
    ProbeFigures,
    Spread,
    Survey,
)
from toomuchtv.reports.charts import COLORS, Curve
from toomuchtv.reports.diagnosis_figures import (
    draw_confusion,
    draw_histograms,
    draw_mass,
    draw_probes,
    draw_training,
    encode_frames,
    encode_log_mel,
)
from toomuchtv.reports.page import Card, CardSide, ResultTable, Section, write_page
from toomuchtv.training.metrics import read_metrics

_ROWS = {
    "mass_same_item": "mass on the same item",
    "mass_same_title": "mass on the same title",
    "mass_other_titles": "mass on other titles",
    "effective_negatives": "effective number of negatives",
    "easy_negative_share": "share of easy negatives",
    "top1": "own moment nearest of all",
    "top1_in_title": "own moment nearest in its title",
}


def write_diagnosis_page(path: Path, diagnosis: Diagnosis) -> None:
    """Write a diagnosis as one page that needs no other file.

    Args:
        path: Where to.
        diagnosis: All figures; the curves come from its run's metrics.
    """
    write_page(
        path,
        title=f"Diagnosis of {diagnosis.run.name}",
        lead=_lead(diagnosis),
        sections=[
            _policies(diagnosis),
            _training(diagnosis),
            *_survey(diagnosis.survey),
            _probes(diagnosis),
        ],
    )


def _lead(diagnosis: Diagnosis) -> str:
    side = {"held_out": "held out of training", "train": "trained on", "all": "of the catalog"}
    count = "1 title" if diagnosis.titles == 1 else f"{diagnosis.titles} titles"
    text = (
        f"How hard were the negatives of this run, and do its embeddings know the title or what "
        f"happens in it? Looked at: the {count} {side[diagnosis.split]} ({diagnosis.items} items), "
        f"at temperature {diagnosis.temperature:.3g}, seed {diagnosis.seed}. "
    )
    trained = _measured(diagnosis)[:1]
    if trained and trained[0].trained_with:
        figures = trained[0].figures
        text += (
            f"With the policy it was trained with ({trained[0].policy}), "
            f"{figures['mass_same_title'].mean:.0%} of the negatives' weight lies on the same "
            f"title, and {figures['effective_negatives'].mean:.0f} negatives effectively count."
        )
    return " ".join([text, *(f"Note: {note}." for note in diagnosis.notes)])


def _measured(diagnosis: Diagnosis) -> list[PolicyFigures]:
    return [one for one in diagnosis.policies if isinstance(one, PolicyFigures)]


def _missing(heading: str, missing: Missing) -> Section:
    return Section(heading=heading, text=f"Not given: {missing.reason}.")


def _policies(diagnosis: Diagnosis) -> Section:
    heading = "How hard the negatives are"
    measured = _measured(diagnosis)
    absent = [one for one in diagnosis.policies if isinstance(one, Missing)]
    if not measured:
        return _missing(heading, absent[0])
    header = ["", *(f"{one.policy}{' (trained with)' if one.trained_with else ''}"
                    for one in measured), *(f"{one.policy}, even" for one in measured)]  # fmt: skip
    rows = [
        [label]
        + [_spread(one.figures[name]) for one in measured]
        + [_number(one.even[name].mean) for one in measured]
        for name, label in _ROWS.items()
    ]
    batches = "; ".join(f"{one.policy}: {one.batches} x {one.batch}" for one in measured)
    return Section(
        heading=heading,
        text=f"Freshly drawn batches ({batches}), embedded by the finished model: mean and "
        "standard deviation over the batches. "
        + " ".join(f"Not given: {one.reason}." for one in absent),
        how_to_read="The loss weighs a batch's negatives by their softmax share; a bar shows where "
        "that weight lies, the pale one where it would lie if all negatives were alike. More than "
        "even on the same title: moments of one title are still hard to tell apart, which is where "
        "there is something to learn. The effective number is the exponential of the shares' "
        "entropy: near the number of negatives all count alike, near 1 a single one does. An easy "
        "negative carries less than 1% of its even share: it costs computation and teaches "
        "nothing. A large share of them under one policy and a small one under the other is the "
        "paper's point in a number.",
        table=ResultTable(header=header, rows=rows),
        png=draw_mass(measured),
        png_alt="Bars of the softmax mass on the same item, the same title and other titles, by "
        "sampling policy",
    )


def _spread(value: Spread) -> str:
    return (
        _number(value.mean) if value.mean != value.mean else f"{value.mean:.3g} ± {value.std:.2g}"
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _training(diagnosis: Diagnosis) -> Section:
    heading = "Over the training"
    lines = [line for line in read_metrics(diagnosis.run) if "effective_negatives" in line]
    if len(lines) < 2:
        return _missing(heading, Missing(reason="the run logged fewer than two steps with them"))
    curves: dict[str, list[Curve]] = {}
    for label, key in (
        ("effective negatives", "effective_negatives"),
        ("mass on the same title", "mass_same_title"),
        ("share of easy negatives", "easy_negative_share"),
    ):
        known = [line for line in lines if line.get(key) is not None]
        curves[label] = [
            Curve(
                name="training",
                x=[line["step"] for line in known],
                y=[line[key] for line in known],
                color=COLORS[2],
            )
        ]
    return Section(
        heading=heading,
        text="The same figures as the run logged them, of the batches that it was trained on.",
        how_to_read="As the encoders learn, the number of effective negatives falls: fewer clips "
        "are mistaken for each other. When it is close to 1, the batches have run out of hard "
        "negatives.",
        png=draw_training(curves),
        png_alt="Curves of effective negatives, mass on the same title and share of easy negatives "
        "over the steps",
    )


def _survey(survey: Survey | Missing) -> list[Section]:
    if isinstance(survey, Missing):
        return [_missing("Similarities", survey)]
    return [
        Section(
            heading="Similarities",
            text=f"All pairs of a picture and a sound among {survey.clips} moments that do not "
            "overlap, equally many of each title.",
            how_to_read="The positives should lie to the right of everything. Where 'same title' "
            "lies right of 'other titles' the embedding knows the title; where it hardly falls "
            "short of the positives it knows little else. 'Nearer than own' is how often a pair "
            "of that kind is more similar than the moment's own: 0.5 is guessing, 0 is perfect.",
            table=ResultTable(
                header=["pairs", "number", "mean", "std", "nearer than own"],
                rows=[
                    [one.relation, f"{one.pairs:,}", *map(_number, (one.mean, one.std)),
                     _number(one.nearer_than_own)]
                    for one in survey.relations
                ],
            ),
            png=draw_histograms(survey.relations),
            png_alt="Histograms of similarity of positives, same item, same title and other titles",
        ),
        Section(
            heading="The hardest negatives",
            text="Negative pairs whose picture and sound the encoders find most similar.",
            how_to_read="Left the moment whose picture it is, right the one whose sound it is. A "
            "pair that a person would tell apart is what training should still work on; a pair "
            "that truly fits together is a false negative.",
            cards=[_card(pair, "Picture", "Sound") for pair in survey.hardest],
        ),
        Section(
            heading="Likely false negatives",
            text="Negative pairs whose two pictures are alike and whose two sounds are alike: the "
            "lesser of both similarities, highest first.",
            how_to_read="Both senses say that these are the same thing: an opening that comes "
            "again, two moments of one shot, the same event twice. If most of them are, widen "
            "pair_labels.overlap_seconds or sampling.min_gap_seconds, or have such segments "
            "ignored; if they are plainly different, the encoders still see too little.",
            cards=[_card(pair, "One", "The other") for pair in survey.likely_false],
        ),
        _confusion(survey),
    ]  # fmt: skip


def _card(pair: Pair, first: str, second: str) -> Card:
    return Card(
        sides=[_side(first, pair.video), _side(second, pair.audio)],
        text=f"{pair.relation}; picture with this sound {pair.similarity:.2f}, with its own "
        f"{pair.own_similarity:.2f}; pictures and sounds alike {pair.alike:.2f}",
    )


def _side(label: str, moment: Moment) -> CardSide:
    name = " ".join(filter(None, [moment.title, moment.episode, moment.timecode]))
    jpegs = []
    if moment.picture is not None:
        jpegs = [
            (encode_frames(moment.picture), f"Three frames of {name}"),
            (encode_log_mel(moment.picture), f"Log-mel spectrogram of the sound of {name}"),
        ]
    return CardSide(caption=f"{label}: {name}", jpegs=jpegs)


def _confusion(survey: Survey) -> Section:
    heading = "The most confusable titles"
    if isinstance(survey.confusion, Missing):
        return _missing(heading, survey.confusion)
    return Section(
        heading=heading,
        text="How much of the softmax mass of a row's title lies on the negatives of a column's, "
        "as a multiple of what an even split would give.",
        how_to_read="1 is even. A dark diagonal: moments are mistaken for others of their own "
        "title. A dark cell off it: two titles look or sound alike, because they share a cast, a "
        "theme, or are the same film twice. All near 1: the embedding does not know the title, or "
        "nothing at all; the probes say which.",
        table=ResultTable(
            header=["title", "and title", "times even"],
            rows=[[first, second, f"{lift:.2f}"] for first, second, lift in survey.confusion.pairs],
        ),
        png=draw_confusion(survey.confusion),
        png_alt="Matrix of the softmax mass from title to title",
    )


def _probes(diagnosis: Diagnosis) -> Section:
    given: list[ProbeFigures] = []
    absent = []
    for name, probes in (("title", diagnosis.title_probes), ("event", diagnosis.event_probes)):
        if isinstance(probes, Missing):
            absent.append(f"Not given, the probe of the {name}: {probes.reason}.")
        else:
            given += probes
    heading = "The title or the event?"
    if not given:
        return Section(heading=heading, text=" ".join(absent))
    return Section(
        heading=heading,
        text="A linear classifier on frozen embeddings names the title (fitted to the first two "
        "fifths of every item and scored on the last two, and the reverse), and what happens "
        "(fitted to some titles and scored on others, where events are known). 'Palette' is the "
        "video with every frame's pixels shuffled, 'structure' with an even histogram of gray; "
        "'theme' is the sound's lasting spectrum, 'events' what changes over it. "
        + " ".join(absent),
        how_to_read="Dotted is chance, gray the same encoders with fresh weights: only what lies "
        "above was learned. Palette or theme near everything: the title is known by how it looks "
        "and sounds, not by what is in it. The healthy sign is an event probe well above its gray "
        "bar, with a title probe that has not risen much above its own.",
        table=ResultTable(
            header=["names", "from", "what is left", "layer", "weights", "accuracy", "folds",
                    "chance", "classes"],
            rows=[
                [one.target, one.sense, one.content, one.layer,
                 "trained" if one.trained else "fresh", f"{one.accuracy:.2f}",
                 " ".join(f"{fold:.2f}" for fold in one.folds), f"{one.chance:.2f}",
                 str(one.classes)]
                for one in given
            ],
        ),
        png=draw_probes(given),
        png_alt="Bars of the accuracy of title and event probes by what is left in the clips",
    )  # fmt: skip
