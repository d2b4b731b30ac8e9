"""All probe protocols on ESC-10 and the UCF101 sample, for several encoders: the docs' table.

    python -m benchmarks.evaluation --out DIR --run RUN [--run RUN] [--catalog CATALOG ...]

The encoders are simple baselines, the given runs, and an untrained encoder. One run takes about an
hour on two cores. Features and results are kept in --out, so that an interrupted call can continue.
With the catalogs that the runs were trained on, results also say which clips of the benchmark were
found there.
"""

from __future__ import annotations

from collections.abc import Sequence
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
MODALITIES = {"esc10": "audio", "ucf101": "video"}


def probe_protocols(benchmark: str) -> list[str]:
    """Return the probe protocols that apply to a benchmark's modality."""
    return [
        name
        for name, protocol in PROTOCOLS.items()
        if isinstance(protocol, ProbeProtocol)
        and (protocol.audio_test if benchmark == "esc10" else protocol.video_test) is not None
    ]


def markdown_table(results: Sequence[Evaluation], benchmark: str, columns: Sequence[str]) -> str:
    """Return the table of one benchmark, with a row per protocol and a column per encoder.

    Cells are percentages: mean, standard deviation over folds, and 95% interval over sources.
    """
    cells = {
        (result.protocol, "untrained" if result.untrained else _encoder_name(result)): result
        for result in results
        if result.benchmark == benchmark
    }
    lines = [f"| {benchmark} | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for protocol in probe_protocols(benchmark):
        row = [_cell(cells.get((protocol, column))) for column in columns]
        lines.append(f"| `{protocol}` | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _encoder_name(result: Evaluation) -> str:
    return str((result.encoder or {})["name"])


def _cell(result: Evaluation | None) -> str:
    if result is None:
        return "-"
    accuracy = result.metrics["accuracy"]
    low, high = accuracy["interval"]
    return (
        f"{100 * accuracy['mean']:.1f} +- {100 * accuracy['std']:.1f} "
        f"({100 * low:.0f} to {100 * high:.0f})"
    )


def main() -> None:
    """Evaluate, and print and write the tables."""
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
    figures, results = Figures("evaluation", options.json), []
    for benchmark, modality in MODALITIES.items():
        encoders: list[tuple[str, Path | None, bool]] = [
            (name, None, False) for name in BASELINES[benchmark]
        ]
        encoders += [(run.name, run, False) for run in options.run]
        encoders += [("untrained", run, True) for run in options.run[:1]]
        for protocol in probe_protocols(benchmark):
            if options.only and protocol not in options.only:
                continue
            for name, run, untrained in encoders:
                out = options.out / name
                suffix = "-untrained" * untrained
                done = out / f"{benchmark}-{protocol}-{modality}{suffix}" / "result.json"
                if done.is_file():
                    result = load_evaluation(done)
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
                key = f"{benchmark}_{protocol}_{_encoder_name(result)}"
                accuracy = result.metrics["accuracy"]
                low, high = accuracy["interval"]
                figures.add(
                    {key: accuracy["mean"], f"{key}_std": accuracy["std"],
                     f"{key}_low": low, f"{key}_high": high}
                )  # fmt: skip
    write_table(options.out, results)
    runs = ["untrained", *(run.name for run in options.run)]
    tables = [markdown_table(results, name, [*BASELINES[name], *runs]) for name in BASELINES]
    (options.out / "table.md").write_text("\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
