"""What others report, read off their papers and READMEs: never measured here.

Frames, crop, views, and on what C or the best epoch was chosen differ from method to method; some
choose on the test fold. So a figure of ours stands beside these, never in line with them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure of the field, in percent.

    Attributes:
        method: Whose.
        pretraining: On what.
        benchmark: `ucf101`, `hmdb51` or `esc50`.
        way: `finetune` or `frozen`.
        percent: Accuracy.
        checked: Whether it was read in the source; else it is from memory.
    """

    method: str
    pretraining: str
    benchmark: str
    way: str
    percent: float
    checked: bool = True


def _rows(
    method: str,
    pretraining: str,
    *,
    ucf: tuple[float | None, float | None] = (None, None),
    hmdb: tuple[float | None, float | None] = (None, None),
    esc: float | None = None,
    checked: bool = True,
    esc_way: str = "frozen",
) -> list[Published]:
    found = [
        ("ucf101", "finetune", ucf[0]),
        ("ucf101", "frozen", ucf[1]),
        ("hmdb51", "finetune", hmdb[0]),
        ("hmdb51", "frozen", hmdb[1]),
        ("esc50", esc_way, esc),
    ]
    return [
        Published(
            method=method, pretraining=pretraining, benchmark=benchmark, way=way, percent=percent,
            checked=checked,
        )
        for benchmark, way, percent in found
        if percent is not None
    ]  # fmt: skip


PUBLISHED: tuple[Published, ...] = tuple(
    figure
    for rows in (
        _rows("supervised R(2+1)D-18", "Kinetics-400, labels", ucf=(94.2, None), hmdb=(65.1, None)),
        _rows("supervised", "ImageNet, labels", ucf=(84.0, None), hmdb=(48.1, None)),
        _rows("XDC", "Kinetics-400", ucf=(86.8, None), hmdb=(52.6, None)),
        _rows("XDC", "AudioSet", ucf=(93.0, 85.3), hmdb=(63.7, 56.0)),
        _rows("XDC", "Kinetics-400", esc=78.0, checked=False),
        _rows("XDC", "AudioSet", esc=84.8, checked=False),
        _rows("XDC", "IG-Random", ucf=(94.6, None), hmdb=(66.5, None)),
        _rows("XDC", "IG-Random", esc=85.4, checked=False),
        _rows("XDC", "IG-Kinetics", ucf=(95.5, None), hmdb=(68.9, None)),
        _rows("ELo", "YouTube, with flow", ucf=(93.8, None), hmdb=(67.4, None)),
        _rows("AVID-CMA", "Kinetics-400", ucf=(87.5, None), hmdb=(60.8, None), esc=79.1),
        _rows("AVID-CMA", "AudioSet", ucf=(91.5, None), hmdb=(64.7, None), esc=89.2),
        _rows("CM-ACC", "Kinetics-400", ucf=(90.2, None), hmdb=(61.8, None)),
        _rows("CM-ACC", "AudioSet", ucf=(93.5, None), hmdb=(67.2, None)),
        _rows("GDT", "Kinetics-400", ucf=(90.9, None), hmdb=(62.3, None)),
        _rows("GDT", "HowTo100M", ucf=(94.1, None), hmdb=(67.4, None)),
        _rows("GDT", "IG65M", ucf=(95.2, None), hmdb=(72.8, None)),
        _rows("GDT", "AudioSet", esc=88.5),
        _rows("STiCA", "Kinetics-400", ucf=(93.1, None), hmdb=(67.0, None), esc=81.1),
        _rows("MMV", "AudioSet", ucf=(91.5, 83.9), hmdb=(70.1, 60.0)),
        _rows("MMV", "AudioSet + HowTo100M", ucf=(95.2, 91.8), hmdb=(75.0, None), esc=88.9),
        _rows("BraVe", "AudioSet", ucf=(93.6, 90.0), hmdb=(70.8, 63.6)),
        _rows("BraVe", "AudioSet, with flow", ucf=(96.9, 93.2), hmdb=(79.4, 69.9)),
        _rows("CrissCross", "Kinetics-400", ucf=(91.5, 83.9), hmdb=(64.7, 50.0), esc=86.8),
        _rows("CrissCross", "AudioSet", ucf=(92.4, 87.7), hmdb=(67.4, 56.2), esc=90.5),
        _rows(
            "XKD", "Kinetics-400", ucf=(94.1, 83.8), hmdb=(69.0, 57.4), esc=93.6,
            esc_way="finetune",
        ),
        _rows(
            "XKD", "AudioSet", ucf=(95.8, 88.4), hmdb=(75.7, 62.2), esc=96.5, esc_way="finetune"
        ),
        _rows("AudioMAE", "AudioSet", esc=93.6, esc_way="finetune"),
    )
    for figure in rows
)  # fmt: skip
