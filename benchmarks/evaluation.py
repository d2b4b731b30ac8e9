"""Every frozen protocol on ESC-10 and the UCF101 sample, for several encoders: the docs' table.

Untrained, the simple baselines, and the runs given. Features are kept under --out, so that
an interrupted call goes on; --only picks protocols. Given the catalogs that the runs learned from,
results also say which of the benchmark's clips were found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figures, parser
from toomuchtv.cli.console import Output
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.protocols import PROTOCOLS, ProbeProtocol
from toomuchtv.evaluation.result import Evaluation, load_evaluation
from toomuchtv.reports.evaluation_page import write_evaluation_page, write_table

BASELINES = {
    "esc10": ("log-mel", "mfcc"),
    "ucf101": ("color-histogram", "frame-difference"),
}


def protocols_of(benchmark: str) -> list[str]:
    """Frozen protocols that judge the benchmark's first sense."""
    return [
        name
        for name, protocol in PROTOCOLS.items()
        if isinstance(protocol, ProbeProtocol)
        and (protocol.audio_test if benchmark == "esc10" else protocol.video_test) is not None
    ]


def markdown(results: Sequence[Evaluation], benchmark: str, columns: Sequence[str]) -> str:
    """The docs' table of one benchmark: a row a protocol, a column an encoder.

    In percent: mean, standard deviation over folds, and the 95% interval over sources.
    """
    lines = [f"| {benchmark} | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for protocol in protocols_of(benchmark):
        cells = []
        for column in columns:
            found = [
                result
                for result in results
                if (result.benchmark, result.protocol, _column(result))
                == (benchmark, protocol, column)
            ]
            cells.append(_cell(found[0]) if found else "-")
        lines.append(f"| `{protocol}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _column(result: Evaluation) -> str:
    return "untrained" if result.untrained else str((result.encoder or {})["name"])


def _cell(result: Evaluation) -> str:
    figures = result.metrics["accuracy"]
    low, high = figures["interval"]
    return (
        f"{100 * figures['mean']:.1f} +- {100 * figures['std']:.1f} "
        f"({100 * low:.0f} to {100 * high:.0f})"
    )


def main() -> None:
    """Evaluate, and print and write the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--media", type=Path, default=Path("../shared/media"))
    arguments.add_argument("--run", type=Path, action="append", default=[])
    arguments.add_argument(
        "--catalog", type=Path, action="append", default=[],
        help="of each --run, in their order: look for leakage in it",
    )  # fmt: skip
    arguments.add_argument("--only", action="append", help="of the protocols; repeatable")
    options = arguments.parse_args()
    if options.catalog and len(options.catalog) != len(options.run):
        arguments.error("give a --catalog for each --run, in the same order, or none")
    catalogs = dict(zip(options.run, options.catalog, strict=False))
    output = Output(as_json=False)
    results: list[Evaluation] = []
    for benchmark in ("esc10", "ucf101"):
        encoders: list[tuple[str, Path | None, str | None, bool]] = [
            (name, None, name, False) for name in BASELINES[benchmark]
        ]
        encoders += [(run.name, run, None, False) for run in options.run]
        encoders += [("untrained", run, None, True) for run in options.run[:1]]
        for protocol in protocols_of(benchmark):
            if options.only and protocol not in options.only:
                continue
            for name, run, encoder, untrained in encoders:
                out = options.out / name
                sense = "audio" if benchmark == "esc10" else "video"
                flag = "-untrained" * untrained
                done = out / f"{benchmark}-{protocol}-{sense}{flag}" / "result.json"
                if done.is_file():
                    results.append(load_evaluation(done))
                    continue
                output.info(f"{benchmark}, {protocol}, {name}")
                result = evaluate(
                    run,
                    benchmark,
                    options.media / benchmark,
                    protocol=protocol,
                    encoder=encoder,
                    untrained=untrained,
                    allow_missing=benchmark == "ucf101",
                    catalog=None if untrained or run is None else catalogs.get(run),
                    out=out,
                    cache=options.out / "features",
                )
                write_evaluation_page(out / result.label / "page.html", result)
                results.append(result)
    write_table(options.out, results)
    tables = [
        markdown(
            results, benchmark,
            [*BASELINES[benchmark], "untrained", *(run.name for run in options.run)],
        )
        for benchmark in BASELINES
    ]  # fmt: skip
    (options.out / "table.md").write_text("\n".join(tables), encoding="utf-8")
    values = {}
    for result in results:
        name = f"{result.benchmark}_{result.protocol}_{(result.encoder or {})['name']}"
        figures = result.metrics["accuracy"]
        values[name] = figures["mean"]
        values[f"{name}_std"] = figures["std"]
        values[f"{name}_low"], values[f"{name}_high"] = figures["interval"]
    Figures(benchmark="evaluation", values=values).publish(options.json)


if __name__ == "__main__":
    main()
