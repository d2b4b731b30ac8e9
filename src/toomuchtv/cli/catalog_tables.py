"""Tables of a catalog for a person: titles, what recurs in them, what they share."""

from __future__ import annotations

from collections import Counter

from toomuchtv.catalog.description import CatalogDescription, ItemDescription, TitleDescription
from toomuchtv.cli.console import Output
from toomuchtv.detection.detect import DetectionResult


def show_catalog(output: Output, shown: CatalogDescription, *, in_full: bool) -> None:
    """Show titles and what was found in them.

    Args:
        output: Where to.
        shown: What to show.
        in_full: Whether to list every segment of every item, but for shots, which are counted.
    """
    output.print_table(
        f"Catalog {shown.catalog}",
        ["title", "kind", "items", "hours", "shots", "opening", "credits", "black", "silence"],
        [_title_row(title) for title in shown.titles],
    )
    things = [
        [
            title.name,
            ", ".join(thing.kinds),
            f"{thing.items} of {len(title.items)}",
            f"{thing.seconds:.1f} s",
            f"{thing.first_item} at {timecode(thing.first_start_seconds)}",
        ]
        for title in shown.titles
        for thing in title.recurring
    ]
    if things:
        output.print_table(
            "What recurs", ["title", "as", "in items", "length", "for example"], things
        )
    if in_full:
        for title in shown.titles:
            for item in title.items:
                _show_item(output, item)
    if shown.duplicates:
        output.print_table(
            "What titles share",
            ["title", "from", "to", "other title", "from"],
            [
                [
                    one.title,
                    timecode(one.start_seconds),
                    timecode(one.stop_seconds),
                    one.other_title,
                    timecode(one.other_start_seconds),
                ]
                for one in shown.duplicates
            ],
        )


def show_analysis(output: Output, result: DetectionResult) -> None:
    """Show what `prepare` found."""
    output.print_values(
        "Found in them",
        {
            "items analyzed": result.analyzed,
            **{f"{kind} segments": count for kind, count in result.segments.items()},
            "things that recur": result.recurring,
            "stretches that titles share": result.duplicates,
        },
    )
    for entry in result.failed:
        output.warning(f"not analyzed: {entry.path}: {entry.reason}")
    if result.duplicates:
        output.warning(
            "titles share content and will be split together: see toomuchtv catalog show"
        )


def timecode(seconds: float) -> str:
    """Hours, minutes, seconds and tenths, as in 1:02:03.4."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}.{rest % 10}"


def _title_row(title: TitleDescription) -> list[object]:
    counts = Counter(segment.kind for item in title.items for segment in item.segments)
    year = "" if title.year is None else f" ({title.year})"
    prepared = sum(item.prepared for item in title.items)
    items = f"{prepared} of {len(title.items)}" if prepared < len(title.items) else prepared
    return [
        f"{title.name}{year}",
        title.kind,
        items,
        f"{title.seconds / 3600:.2f}",
        *(counts[kind] for kind in ("shot", "opening", "credits", "black", "silence")),
    ]


def _show_item(output: Output, item: ItemDescription) -> None:
    shots = sum(segment.kind == "shot" for segment in item.segments)
    rows = [
        [
            segment.kind,
            timecode(segment.start_seconds),
            timecode(segment.stop_seconds),
            "" if segment.recurrence is None else f"thing {segment.recurrence}",
        ]
        for segment in item.segments
        if segment.kind != "shot"
    ]
    length = f"{timecode(item.seconds)}, {shots} shots"
    output.print_table(f"{item.path} ({length})", ["segment", "from", "to", "recurs as"], rows)
