"""How far clips are off their originals: frames by number, and audio in milliseconds.

Films are generated in every usual combination of container and codec, and in the combinations that
are known to be hard. Every frame shows its own number and the audio is noise, so that an offset can
be measured and not only suspected. Clips are read from the original and from its proxy.

    python -m benchmarks.sync --out DIR --json FILE [--only NAME]
"""

from __future__ import annotations

from benchmarks.figures import Figures, parser
from tests.media.sync_cases import Offsets, hard_cases, measure, missing, usual_cases


def table(found: dict[str, Offsets]) -> str:
    """Markdown, worst first."""
    lines = [
        "| file | frames, original | frames, proxy | sound, original (ms) | sound, proxy (ms) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    order = sorted(found.items(), key=lambda f: (-f[1].worst_frame, -f[1].worst_sound_ms, f[0]))
    for name, offsets in order:
        cells = [f"{offsets.frames[way]:.0f}" for way in ("original", "proxy")]
        cells += [f"{offsets.sound_ms[way]:.1f}" for way in ("original", "proxy")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make, read, compare, print."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", default="", help="only the cases whose names hold this")
    options = arguments.parse_args()
    found: dict[str, Offsets] = {}
    left_out: dict[str, str] = {}
    for case in (*usual_cases(), *hard_cases()):
        if options.only not in case.name:
            continue
        lacking = missing(case)
        if lacking is not None:
            left_out[case.name] = lacking
            continue
        found[case.name] = measure(case, options.out / case.name)
    print(table(found))
    for name, offsets in found.items():
        if offsets.failure:
            print(f"cannot read {name}: {offsets.failure}")
    for name, lacking in left_out.items():
        print(f"not made: {name} ({lacking})")
    values: dict[str, float] = {
        "worst_frame_offset": max(offsets.worst_frame for offsets in found.values()),
        "worst_sound_offset_ms": max(offsets.worst_sound_ms for offsets in found.values()),
        "num_files": len(found),
        "num_left_out": len(left_out),
    }
    for name, offsets in found.items():
        values[f"{name}_frame_offset"] = offsets.worst_frame
        values[f"{name}_sound_offset_ms"] = offsets.worst_sound_ms
    Figures(benchmark="sync", values=values).publish(options.json)


if __name__ == "__main__":
    main()
