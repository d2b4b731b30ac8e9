"""All probe protocols on ESC-10 and the UCF101 sample, for several encoders.

    python -m benchmarks.evaluation --out DIR --run RUN [--run RUN] [--catalog CATALOG ...]

The encoders are simple baselines, the given runs, and an untrained encoder. One run takes about an
hour on two cores. Features and results are kept in --out, so that an interrupted call can continue.
With the catalogs that the runs were trained on, results also say which clips of the benchmark were
found there.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figures, argument_parser
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.protocols import PROTOCOLS, ProbeProtocol
from toomuchtv.evaluation.result import Evaluation, load_evaluation
from toomuchtv.reports.evaluation_page import write_evaluation_page, write_table

BASELINES = {
    "esc10": ("log-mel", "mfcc"),
    "ucf101": ("color-histogram", "frame-difference"),
}


def probe_protocols(benchmark: str) -> list[str]:
    """Return the probe protocols that apply to a benchmark's modality."""
    return [
        name
        for name, protocol in PROTOCOLS.items()
        if isinstance(protocol, ProbeProtocol)
        and (protocol.audio_test if benchmark == "esc10" else protocol.video_test) is not None
    ]


def main() -> None:
    """Evaluate, and write `table.html` and `table.txt`."""
    parser = argument_parser(__doc__)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument(
        "--catalog", type=Path, action="append", default=[],
        help="catalog of each --run, in the same order, to look for leakage",
    )  # fmt: skip
    parser.add_argument("--only", action="append", help="only this protocol; repeatable")
    options = parser.parse_args()
    if options.catalog and len(options.catalog) != len(options.run):
        parser.error("give one --catalog for each --run, in the same order, or none")
    catalogs = dict(zip(options.run, options.catalog, strict=False))
    figures = Figures("evaluation", options.json)
    results: list[Evaluation] = []
    for benchmark, baselines in BASELINES.items():
        encoders: list[tuple[str, Path | None, bool]] = [(name, None, False) for name in baselines]
        encoders += [(run.name, run, False) for run in options.run]
        encoders += [("untrained", run, True) for run in options.run[:1]]
        for protocol in probe_protocols(benchmark):
            if options.only and protocol not in options.only:
                continue
            for name, run, untrained in encoders:
                # The folder of a result ends with a digest of what was measured.
                out = options.out / name / f"{benchmark}-{protocol}"
                done = list(out.glob("*/result.json"))
                if done:
                    result = load_evaluation(done[0])
                else:
                    result = evaluate(
                        run,
                        benchmark,
                        options.media / benchmark,
                        protocol=protocol,
                        encoder=name if run is None else None,
                        untrained=untrained,
                        allow_missing=benchmark == "ucf101",
                        catalog=None if untrained or run is None else catalogs.get(run),
                        out=out,
                        cache=options.out / "features",
                    )
                    write_evaluation_page(out / result.label / "page.html", result)
                results.append(result)
                key = f"{benchmark}_{protocol}_{name}"
                accuracy = result.metrics["accuracy"]
                low, high = accuracy["interval"]
                figures.add(
                    {key: accuracy["mean"], f"{key}_std": accuracy["std"],
                     f"{key}_low": low, f"{key}_high": high}
                )  # fmt: skip
    write_table(options.out, results)


if __name__ == "__main__":
    main()
