"""Accuracies that other authors report in their papers. They were not measured here.

Frames, crop, views and the selection of C or of the best epoch differ between methods, and some
select on the test fold. These figures give context; they do not rank our results.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A published accuracy.

    Attributes:
        method: Name of the method.
        pretraining: Data of the pretraining.
        benchmark: `ucf101`, `hmdb51` or `esc50`.
        way: `finetune`, or `frozen` for a classifier on frozen features.
        percent: Accuracy in percent.
        source: Paper that describes the method, by its arXiv identifier. See
            `docs/guide/evaluate.md` for the figures that were compared with their source.
    """

    method: str
    pretraining: str
    benchmark: str
    way: str
    percent: float
    source: str


# Columns: UCF101 fine-tuned, UCF101 frozen, HMDB51 fine-tuned, HMDB51 frozen, ESC-50 frozen,
# ESC-50 fine-tuned.
_COLUMNS = (
    ("ucf101", "finetune"), ("ucf101", "frozen"), ("hmdb51", "finetune"), ("hmdb51", "frozen"),
    ("esc50", "frozen"), ("esc50", "finetune"),
)  # fmt: skip
_ROWS: tuple[tuple[str, str, tuple[float | None, ...], str], ...] = (
    ("supervised R(2+1)D-18", "Kinetics-400, labels", (94.2, None, 65.1), "arXiv 1911.12667"),
    ("supervised", "ImageNet, labels", (84.0, None, 48.1), "arXiv 1911.12667"),
    ("XDC", "Kinetics-400", (86.8, None, 52.6), "arXiv 1911.12667"),
    ("XDC", "AudioSet", (93.0, 85.3, 63.7, 56.0), "arXiv 1911.12667"),
    ("XDC", "IG-Random", (94.6, None, 66.5), "arXiv 1911.12667"),
    ("XDC", "IG-Kinetics", (95.5, None, 68.9), "arXiv 1911.12667"),
    ("ELo", "YouTube, with flow", (93.8, None, 67.4), "arXiv 2002.12177"),
    ("AVID-CMA", "Kinetics-400", (87.5, None, 60.8, None, 79.1), "arXiv 2004.12943"),
    ("AVID-CMA", "AudioSet", (91.5, None, 64.7, None, 89.2), "arXiv 2004.12943"),
    ("CM-ACC", "Kinetics-400", (90.2, None, 61.8), "arXiv 2009.09805"),
    ("CM-ACC", "AudioSet", (93.5, None, 67.2), "arXiv 2009.09805"),
    ("GDT", "Kinetics-400", (90.9, None, 62.3), "arXiv 2003.04298"),
    ("GDT", "HowTo100M", (94.1, None, 67.4), "arXiv 2003.04298"),
    ("GDT", "IG65M", (95.2, None, 72.8), "arXiv 2003.04298"),
    ("GDT", "AudioSet", (None, None, None, None, 88.5), "arXiv 2003.04298"),
    ("STiCA", "Kinetics-400", (93.1, None, 67.0, None, 81.1), "arXiv 2103.10211"),
    ("MMV", "AudioSet", (91.5, 83.9, 70.1, 60.0), "arXiv 2006.16228"),
    ("MMV", "AudioSet + HowTo100M", (95.2, 91.8, 75.0, None, 88.9), "arXiv 2006.16228"),
    ("BraVe", "AudioSet", (93.6, 90.0, 70.8, 63.6), "arXiv 2103.16559"),
    ("BraVe", "AudioSet, with flow", (96.9, 93.2, 79.4, 69.9), "arXiv 2103.16559"),
    ("CrissCross", "Kinetics-400", (91.5, 83.9, 64.7, 50.0, 86.8), "arXiv 2111.05329"),
    ("CrissCross", "AudioSet", (92.4, 87.7, 67.4, 56.2, 90.5), "arXiv 2111.05329"),
    ("XKD", "Kinetics-400", (94.1, 83.8, 69.0, 57.4, None, 93.6), "arXiv 2211.13929"),
    ("XKD", "AudioSet", (95.8, 88.4, 75.7, 62.2, None, 96.5), "arXiv 2211.13929"),
    ("AudioMAE", "AudioSet", (None, None, None, None, None, 93.6), "arXiv 2207.06405"),
)

PUBLISHED: tuple[Published, ...] = tuple(
    Published(method, pretraining, *column, percent, source)
    for method, pretraining, figures, source in _ROWS
    for column, percent in zip(_COLUMNS, figures, strict=False)
    if percent is not None
)
