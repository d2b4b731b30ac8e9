"""Offsets of clips from their originals: video in frames, and audio in milliseconds.

Films are generated in every usual combination of container and codec, and in the combinations that
are known to be hard. Every frame shows its own number and the audio is noise, so that an offset can
be measured and not only suspected. Clips are read from the original and from its proxy.

    python -m benchmarks.sync --out DIR --json FILE [--only NAME]        ten minutes on two cores
"""

from __future__ import annotations

from benchmarks.figures import Figures, argument_parser
from tests.media.sync_cases import Offsets, hard_cases, measure, missing, usual_cases


def table(found: dict[str, Offsets]) -> str:
    """Return a table in Markdown, with the largest offsets first."""
    lines = [
        "| file | frames, original | frames, proxy | audio, original (ms) | audio, proxy (ms) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    order = sorted(found.items(), key=lambda f: (-f[1].worst_frame, -f[1].worst_audio_ms, f[0]))
    for name, offsets in order:
        cells = [f"{offsets.frames[way]:.0f}" for way in ("original", "proxy")]
        cells += [f"{offsets.audio_ms[way]:.1f}" for way in ("original", "proxy")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the films, read clips and compare them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--only", default="", help="only the cases whose names contain this")
    options = parser.parse_args()
    found: dict[str, Offsets] = {}
    skipped: dict[str, str] = {}
    for case in (*usual_cases(), *hard_cases()):
        if options.only not in case.name:
            continue
        reason = missing(case)
        if reason is not None:
            skipped[case.name] = reason
            continue
        found[case.name] = measure(case, options.out / case.name)
    print(table(found))
    for name, offsets in found.items():
        if offsets.failure:
            print(f"cannot read {name}: {offsets.failure}")
    for name, reason in skipped.items():
        print(f"not made: {name} ({reason})")
    values: dict[str, float] = {
        "worst_frame_offset": max(offsets.worst_frame for offsets in found.values()),
        "worst_sound_offset_ms": max(offsets.worst_audio_ms for offsets in found.values()),
        "num_files": len(found),
        "num_left_out": len(skipped),
    }
    for name, offsets in found.items():
        values[f"{name}_frame_offset"] = offsets.worst_frame
        values[f"{name}_sound_offset_ms"] = offsets.worst_audio_ms
    Figures("sync", options.json).add(values)


if __name__ == "__main__":
    main()
