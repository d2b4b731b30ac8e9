"""The command line: one verb a task. The only place that knows every part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from toomuchtv.console import Output
from toomuchtv.errors import ToomuchtvError

if TYPE_CHECKING:
    from toomuchtv.evaluation.diagnosis import Diagnosis
    from toomuchtv.evaluation.result import Evaluation

DONE, DONE_IN_PART, WRONG_INPUT = 0, 1, 2

app = typer.Typer(
    name="toomuchtv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Teach a video and an audio encoder from a folder of films and TV series, without labels."
    "\n\nThe usual way: scan, prepare, pretrain, evaluate. `toomuchtv demo` does all of it on a "
    "small library that it renders itself.\n\nExit codes: 0 done, 1 done in part (what failed is "
    "listed), 2 wrong usage or input.",
)
catalog_app = typer.Typer(no_args_is_help=True, help="Look into a catalog.")
app.add_typer(catalog_app, name="catalog")

Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the catalog.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes to work with.")]


@contextmanager
def _verb(*, as_json: bool, is_quiet: bool = False) -> Iterator[Output]:
    """Say errors as a person reads them, and exit as DESIGN.md has it.

    A quiet one says nothing else: one of many processes that do the same.
    """
    output = Output(as_json=as_json, is_quiet=is_quiet)
    try:
        yield output
    except (ToomuchtvError, ValueError) as error:
        output.fail(str(error))
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        output.fail("interrupted; what was done so far is kept")
        raise typer.Exit(130) from error


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Show what this machine has: decoders, GPU, free disk, library versions."""
    from toomuchtv.doctor import examine

    with _verb(as_json=as_json) as output:
        diagnosis = examine(Path.cwd())
        output.table("This machine", diagnosis.facts)
        output.table("Libraries", diagnosis.libraries)
        output.result(asdict(diagnosis))
        for missing in diagnosis.missing:
            output.fail(f"{missing} is missing: install the `av` wheel of the package index")
        if diagnosis.missing:
            raise typer.Exit(DONE_IN_PART)


@app.command()
def scan(
    library: Annotated[Path, typer.Argument(help="Folder of films and series; only read.")],
    catalog: Catalog,
    *,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Find the films and episodes of a library, read their names and probe them.

    The catalog is made where there is none, else brought up to date: unchanged files are not
    opened again. Files that cannot be used are set aside and listed with the reason.
    """
    from toomuchtv.catalog.scan import scan_library

    with _verb(as_json=as_json) as output:
        with output.progress("files") as progress:
            result = scan_library(library, catalog, num_workers=workers, progress=progress)
        output.table(
            f"Catalog {catalog}",
            {
                "titles": result.titles,
                "items": result.items,
                "extras": result.extras,
                "hours": result.seconds / 3600,
                "added": result.added,
                "updated": result.updated,
                "renamed": result.renamed,
                "unchanged": result.unchanged,
                "vanished": result.vanished,
            },
        )
        for warning in result.warnings:
            output.warn(f"warning: {warning}")
        for entry in result.set_aside:
            output.warn(f"set aside: {entry.path}: {entry.reason}")
        output.result(asdict(result))
        if result.items == 0:
            output.warn("nothing in this library can be used")
        if result.set_aside:
            raise typer.Exit(DONE_IN_PART)


@app.command()
def prepare(
    catalog: Catalog,
    *,
    workers: Workers = 2,
    short_side: Annotated[int, typer.Option(help="Pixels of the proxies' shorter side.")] = 128,
    frame_rate: Annotated[float, typer.Option(help="Frames a second of the proxies.")] = 8.0,
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the proxies' sound.")] = 16_000,
    quantizer: Annotated[
        int, typer.Option(help="Coarseness of the pictures, 1 (finest, largest) to 31.")
    ] = 4,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Language of the sound, as files tag it (eng); repeat for several."),
    ] = None,
    letterbox: Annotated[
        Literal["keep", "crop"], typer.Option(help="What to do with black bars around the picture.")
    ] = "keep",
    disk_check: Annotated[
        bool, typer.Option(help="Refuse to begin where the disk looks too small.")
    ] = True,
    segments: Annotated[
        bool, typer.Option(help="Find what recurs, shots, black and what titles share.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Make proxies, the small copies that training reads, and find what is in them.

    Openings, end credits and recaps are found by the sound that comes again in a show's episodes;
    shots, black, silence, logos and a film's credits by picture and sound; and stretches that two
    titles share. `toomuchtv catalog show` shows them. Stop it at any moment; the next call goes
    on where it stopped.
    """
    from toomuchtv.catalog.analysis import find_segments
    from toomuchtv.catalog.prepare import estimate_prepare, prepare_catalog
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.catalog_tables import show_analysis
    from toomuchtv.media.proxy import ProxyRecipe

    with _verb(as_json=as_json) as output, open_catalog(catalog) as opened:
        recipe = ProxyRecipe(
            short_side=short_side,
            frame_rate=frame_rate,
            sample_rate_hz=sample_rate,
            quantizer=quantizer,
            languages=tuple(language or ()),
            letterbox=letterbox,
        )
        estimate = estimate_prepare(opened, recipe)
        output.say(
            f"{estimate.items} items to prepare, {estimate.film_seconds / 3600:.2f} hours, about "
            f"{estimate.bytes / 1e6:,.0f} MB; {estimate.free_bytes / 1e9:,.1f} GB free"
        )
        with output.progress("s of film") as progress:
            result = prepare_catalog(
                opened, recipe, num_workers=workers, check_disk=disk_check, progress=progress
            )
        output.table(
            f"Proxies of {catalog}",
            {
                "prepared": result.prepared,
                "skipped, done before": result.skipped,
                "failed": len(result.failed),
                "megabytes": result.bytes / 1e6,
            },
        )
        for entry in result.failed:
            output.warn(f"failed: {entry.path}: {entry.reason}")
        found = None
        if segments:
            with output.progress("s of film") as progress:
                found = find_segments(opened, num_workers=workers, progress=progress)
            show_analysis(output, found)
        output.result({**asdict(result), "found": None if found is None else asdict(found)})
        if result.failed or (found is not None and found.failed):
            raise typer.Exit(DONE_IN_PART)


@catalog_app.command()
def show(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    *,
    title: Annotated[
        str | None, typer.Option(help="Show this one alone, every segment with its timecodes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the titles, what recurs in their items, and what titles share.

    With --title, every opening, credits, recap, black, silence and logo of every item.
    """
    from toomuchtv.catalog.description import describe_catalog
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.catalog_tables import show_catalog

    with _verb(as_json=as_json) as output, open_catalog(catalog) as opened:
        shown = describe_catalog(opened, title)
        show_catalog(output, shown, in_full=title is not None)
        output.result(asdict(shown))


@app.command()
def pretrain(
    catalog: Catalog,
    run: Annotated[Path, typer.Option("--run", help="Folder of the run; made if need be.")],
    *,
    preset: Annotated[str | None, typer.Option(help="tiny, small or base.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file over the preset.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting over both, as training.steps=600; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this run.")] = False,
    find_chunk_size: Annotated[
        bool,
        typer.Option("--find-chunk-size", help="Set training.chunk_size to what memory holds."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train the encoders on a prepared catalog.

    A share of the titles is held out and never trained on. Watch with `tensorboard --logdir RUN`.
    With --resume and no other setting, the run's own config is used; where there is no run yet,
    it begins, so that one command does for every start. At the end RUN/report.html tells what came.
    Several processes: `torchrun --nproc-per-node N -m -- toomuchtv.cli pretrain ...`; see
    docs/scaling.md.
    """
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.config import load_config
    from toomuchtv.distributed import place_of_process
    from toomuchtv.report.run_page import write_run_page
    from toomuchtv.training.chunk_size import with_found_chunk_size
    from toomuchtv.training.pretrain import pretrain as train
    from toomuchtv.training.summary import describe

    rank, world_size = place_of_process()
    if find_chunk_size and world_size > 1:
        raise typer.BadParameter(
            "--find-chunk-size is for one process: call it so once, then give all of them the "
            "--set training.chunk_size=N that it found"
        )
    with _verb(as_json=as_json, is_quiet=rank > 0) as output, open_catalog(catalog) as opened:
        if resume and preset is None and config is None and not settings:
            own = run / "config.toml"
            config = own if own.exists() else None
        resolved = load_config(preset=preset, file=config, settings=settings or ())
        if find_chunk_size:
            resolved = with_found_chunk_size(resolved, run)
            output.say(f"--set training.chunk_size={resolved.training.chunk_size} fits in memory")
        if rank == 0:
            output.table("What will happen", describe(opened, resolved, world_size=world_size))
        with output.progress("steps") as progress:
            result = train(opened, run, resolved, resume=resume, progress=progress)
        if rank == 0:
            write_run_page(run, opened)
        output.table(
            f"Run {run}",
            {
                "steps": result.steps,
                "loss": result.loss,
                "clips a second": result.clips_per_second,
                "replaced clips": result.replaced_clips,
                "replaced loader workers": result.worker_restarts,
                "model": "not written yet" if result.interrupted else result.model,
                "report": run / "report.html",
            },
        )
        output.result(asdict(result))
        if result.interrupted:
            output.warn("stopped as asked; go on with the same command and --resume")


@app.command()
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="A run's folder; leave it away with --encoder.")
    ] = None,
    *,
    benchmark: Annotated[
        str | None, typer.Option(help="Its name, as ucf101 or esc50; see --list.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The benchmark's folder; of retrieval: a catalog.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="linear by default; see --list for the published ones.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Instead of a run: log-mel, mfcc, color-histogram, frame-difference; "
            "r2plus1d_18:FILE.safetensors; transformers:FOLDER; or module:function."
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Fresh weights instead: the floor of the score.")
    ] = False,
    modality: Annotated[
        str | None, typer.Option(help="Judge by video or by audio, where there are both.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without files that a list names.")
    ] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(help="What the encoder was pretrained on: how much of the test is in it?"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where results go: RUN/evaluations, else ./evaluations.")
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="List benchmarks and protocols, and do nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of fresh weights, moments and random views.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure what encoders are good for, by protocols that have names.

    retrieval: does a moment's picture find its own sound among others, and back, on titles that
    were held out and on those trained on. All others classify labeled clips over official folds or
    splits. Nothing is chosen on the test fold, save by protocols that are named -peeking.

    Features are kept, so that the same command goes on where it was interrupted. Each result is a
    folder with result.json and page.html; put two beside each other with `toomuchtv compare`.
    """
    from toomuchtv.evaluation.evaluate import evaluate as measure
    from toomuchtv.report.evaluation_page import write_evaluation_page

    with _verb(as_json=as_json) as output:
        if list_all:
            _list_evaluations(output)
            return
        if benchmark is None or data is None:
            raise ValueError("give --benchmark and --data, or --list to see what there is")
        if modality not in {None, "video", "audio"}:
            raise ValueError(f"--modality must be video or audio, got {modality!r}")
        folder = out or (run / "evaluations" if run is not None else Path("evaluations"))
        with output.progress("clips") as progress:
            result = measure(
                run,
                benchmark,
                data,
                protocol=protocol,
                encoder=encoder,
                untrained=untrained,
                modality=None if modality is None else "video" if modality == "video" else "audio",
                allow_missing=allow_missing,
                catalog=catalog,
                seed=seed,
                out=folder,
                cache=folder / "features",
                progress=progress,
            )
        page = folder / result.label / "page.html"
        write_evaluation_page(page, result)
        _show_evaluation(output, result)
        output.say(f"{page}")
        output.result({**asdict(result), "page": page})


def _list_evaluations(output: Output) -> None:
    from toomuchtv.evaluation.layouts import LAYOUTS
    from toomuchtv.evaluation.protocols import PROTOCOLS

    benchmarks = {"retrieval": "a prepared catalog"}
    benchmarks |= {name: layout.holds for name, layout in LAYOUTS.items()}
    protocols = {name: protocol.source for name, protocol in PROTOCOLS.items()}
    output.table("Benchmarks, and what --data must hold", benchmarks)
    output.table("Protocols, and where they are from", protocols)
    output.result({"benchmarks": benchmarks, "protocols": protocols})


def _show_evaluation(output: Output, result: Evaluation) -> None:
    from toomuchtv.evaluation.table import figure_rows

    weights = "untrained" if result.untrained else "trained"
    sense = f", {result.modality}" if result.modality else ""
    title = f"{result.benchmark}, protocol {result.protocol}{sense}, {weights} weights"
    header, rows = figure_rows(result)
    output.grid(title, header, rows)
    for note in result.notes:
        output.warn(f"note: {note}")


@app.command()
def diagnose(
    run: Annotated[Path, typer.Argument(help="A run's folder, its training finished.")],
    catalog: Catalog,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and its figures; RUN/diagnosis.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Moments drawn for each figure.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the drawn moments.")] = 0,
    split: Annotated[
        Literal["auto", "held_out", "train", "all"],
        typer.Option(help="Which titles; auto: those held out, or all where they are under four."),
    ] = "auto",
    truth: Annotated[
        Path | None, typer.Option(help="Folder of events; `truth` beside the library.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how easy the negatives are, and if the model knows the title rather than the event.

    Writes OUT/diagnosis.html, a page with every figure and how to read it, and
    OUT/diagnosis.json. docs/diagnose.md says what a healthy run looks like.
    """
    import json

    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.evaluation.diagnosis import diagnose as examine
    from toomuchtv.report.diagnosis_page import write_diagnosis_page

    with _verb(as_json=as_json) as output, open_catalog(catalog) as opened:
        with output.progress("clips") as progress:
            found = examine(
                run, opened, split=split, clips=clips, seed=seed, truth=truth, progress=progress
            )
        folder = run / "diagnosis" if out is None else out
        page, figures = folder / "diagnosis.html", folder / "diagnosis.json"
        write_diagnosis_page(page, found)
        values = found.figures()
        figures.write_text(json.dumps(values, indent=1) + "\n")
        _show_diagnosis(output, found)
        output.result({"page": page, "figures": figures, **values})
        output.say(f"{page}")


def _show_diagnosis(output: Output, found: Diagnosis) -> None:
    from toomuchtv.evaluation.diagnosis.results import Missing

    policies = [one for one in found.policies if not isinstance(one, Missing)]
    if policies:
        output.grid(
            "How hard the negatives are",
            ["", *(f"{one.policy}{', trained with' if one.trained_with else ''}"
                   for one in policies)],
            [[name.replace("_", " "),
              *(f"{one.figures[name].mean:.3g} +- {one.figures[name].std:.2g}" for one in policies)]
             for name in policies[0].figures],
        )  # fmt: skip
    for name, probes in (("title", found.title_probes), ("event", found.event_probes)):
        if not isinstance(probes, Missing):
            output.grid(
                f"Which {name}, by a linear classifier",
                ["from", "what is left", "layer", "weights", "accuracy", "chance"],
                [[one.sense, one.content, one.layer, "trained" if one.trained else "fresh",
                  one.accuracy, one.chance] for one in probes],
            )  # fmt: skip
    parts = (*found.policies, found.survey, found.title_probes, found.event_probes)
    for part in parts:
        if isinstance(part, Missing):
            output.warn(f"not given: {part.reason}")
    for note in found.notes:
        output.warn(f"note: {note}")


@app.command()
def compare(
    results: Annotated[
        list[Path],
        typer.Argument(help="Runs, or results of evaluate: two to test, more to tabulate."),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for table.html and table.txt of all of them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put results beside each other and beside the field's published figures.

    The first two are compared benchmark by benchmark where they share protocol and clips: the
    difference, its 95% interval by a paired bootstrap over source videos or recordings, and the p
    of a permutation test over them. With --out, all results go into one table with the published
    figures, and a warning wherever protocols or pretraining differ.
    """
    from toomuchtv.evaluation.comparing import compare_results
    from toomuchtv.evaluation.table import gather, warnings_of
    from toomuchtv.report.evaluation_page import write_table

    with _verb(as_json=as_json) as output:
        found = gather(results)
        compared = compare_results(results[0], results[1]) if len(results) > 1 else []
        output.grid(
            f"{results[-1] if len(results) < 2 else results[1]} against {results[0]}",
            ["benchmark", "protocol", "sense", "a", "b", "b - a", "95%", "p", "sources"],
            [entry.row() for entry in compared],
        )
        if out is not None:
            write_table(out, found)
            output.say(f"{out / 'table.html'}")
        for warning in warnings_of(found):
            output.warn(f"warning: {warning}")
        output.result(
            {"compared": [asdict(entry) for entry in compared], "warnings": warnings_of(found)}
        )


@app.command()
def studio(
    out: Annotated[Path, typer.Argument(help="Folder to render into.")],
    *,
    movies: Annotated[int, typer.Option(help="Number of films.")] = 12,
    shows: Annotated[int, typer.Option(help="Number of series.")] = 4,
    episodes: Annotated[int, typer.Option(help="Episodes of each series.")] = 4,
    minutes: Annotated[float, typer.Option(help="Length of a film or episode.")] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed renders the same library.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another knob, as signature_picture=0.2; repeatable."),
    ] = None,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Render a library of procedural films and series whose events are known.

    OUT/library is laid out as a media server's, OUT/truth says what happens when, OUT/transfer
    holds labeled clips of titles that the library does not have.

    Knobs of --set, each from 0 (none) to 1 (strong): signature_picture and signature_sound, what a
    title owns of look and of music, room and loudness; diversity and show_diversity, the share of
    the kinds of events and of the sets that a film or a series has; recurrence, how often its own
    sets and characters are on; music_overlap, how loud music is under events; event_share and
    pair_share, how often something happens, or two things. Others: seasons, clips (short ones,
    each a title of its own), opening_seconds, event_kinds, width, height, frame_rate,
    transfer_titles, transfer_clips_per_kind. StudioConfig describes each.
    """
    import tomllib

    from toomuchtv.studio import StudioConfig, render_studio

    with _verb(as_json=as_json) as output:
        try:
            knobs: dict[str, Any] = tomllib.loads("\n".join(settings or ()))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"--set reads knob=value, got {settings}") from error
        order = StudioConfig(
            movies=movies, shows=shows, episodes=episodes, minutes=minutes, seed=seed, **knobs
        )
        with output.progress("s of film") as progress:
            summary = render_studio(out, order, num_workers=workers, progress=progress)
        facts = summary.model_dump(mode="json")
        output.table(f"Studio {out}", {**facts, "event_kinds": f"{len(summary.event_kinds)} kinds"})
        output.result({"out": out, **facts})


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")] = Path(
        "demo"
    ),
    *,
    seed: Annotated[int, typer.Option(help="Of the library, the weights and the plans.")] = 0,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Do the whole job on a small library of rendered films, ending in a report.

    Trains twice, with uniform and with hierarchical sampling, and compares what a linear
    classifier can tell of the events in titles that neither has seen. Interrupted, the same
    command goes on where it stopped.
    """
    from toomuchtv.demo import run_demo

    with _verb(as_json=as_json) as output:
        result = run_demo(out, seed=seed, num_workers=workers, output=output)
        output.result(result)


@app.command()
def study(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small one, in minutes: one seed, short trainings.")
    ] = False,
    size: Annotated[
        Path | None,
        typer.Option(help="TOML file of another size: numbers of Scale, over the full study's."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions; 5, with --quick 1.")
    ] = None,
    first_seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Seeds count from here; another study takes others. Settings were chosen by seed "
            "0, so it is no evidence.",
        ),
    ] = 1,
    workers: Workers = 2,
    plan: Annotated[
        bool, typer.Option("--plan", help="List the arms and what they cost, and do nothing.")
    ] = False,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Answer from the arms that are done; train nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put the paper's claims to the test on rendered worlds, with error bars.

    Renders libraries in which it is known what belongs to a title and what has meaning, trains a
    pair of encoders for each way of sampling, and judges all of them by labeled clips of titles
    that none has seen. OUT/study.html answers seven questions, each with a figure and a sentence:
    are uniform negatives easy; does hierarchical sampling transfer better; is the gain larger on
    shows, and why; how much k and the level matter; what recurring openings do; does film match
    curated clips, and complex objectives the simple one; how many steps are saved. OUT/study.json
    has every arm's scores.

    Each of the --workers runs an arm on one core. Stopped at any moment, the same command goes on.
    An arm that fails is listed, the others go on, and the exit code is 1. A second study with
    --first-seed beyond these seeds must agree: see `toomuchtv study-agreement`. docs/study.md has
    what came of it.
    """
    from toomuchtv.study import FULL, QUICK, design, read_scale, run_study
    from toomuchtv.study.run import answer_study, forecast

    with _verb(as_json=as_json) as output:
        if quick and size is not None:
            raise ValueError("give --quick or --size, not both")
        scale = QUICK if quick else FULL if size is None else read_scale(size)
        order = design(scale if seeds is None else scale.with_seeds(seeds), first_seed=first_seed)
        if plan:
            output.table("What would happen", forecast(order, workers))
            output.grid("Arms", ["arm"], [[arm.name] for arm in order.arms])
            output.result({"arms": [arm.name for arm in order.arms],
                           "core_seconds": order.core_seconds})  # fmt: skip
            return
        if so_far:
            result = answer_study(out, order)
        else:
            result = run_study(out, order, num_workers=workers, output=output)
        for answer in result.answers:
            output.say(f"\n{answer.question}")
            for sentence in answer.sentences:
                output.say(f"  {sentence}")
        output.say(f"\n{result.page}, after {result.seconds / 60:.1f} minutes")
        for failure in result.failed:
            output.warn(f"failed: {failure.arm}: {failure.reason}")
        output.result({"page": result.page, "record": result.record, "arms": result.arms,
                       "failed": [asdict(one) for one in result.failed],
                       "seconds": result.seconds})  # fmt: skip
        if result.failed:
            raise typer.Exit(DONE_IN_PART)


@app.command("study-agreement")
def study_agreement(
    first: Annotated[Path, typer.Argument(help="A study's folder, or its study.json.")],
    second: Annotated[Path, typer.Argument(help="Another's, of the same size, with other seeds.")],
    *,
    as_json: Json = False,
) -> None:
    """Say whether two studies with different seeds agree within their intervals.

    Two means agree if they lie no farther apart than the root of the sum of the squared half
    widths of their 95% intervals. Of figures that are equal in truth, one in twenty disagrees. The
    exit code is 1 if more than one in ten do.
    """
    from toomuchtv.study.record import compare_studies

    with _verb(as_json=as_json) as output:
        found = compare_studies(first, second)
        rows = [
            [one.name, *(f"{mean:+.3f} +- {'?' if half is None else f'{half:.3f}'}"
                         for mean, half in (one.first, one.second)),
             {None: "no interval", True: "yes", False: "NO"}[one.agrees]]
            for one in found
        ]  # fmt: skip
        output.grid("Two studies", ["figure", str(first), str(second), "agree"], rows)
        told = [one for one in found if one.agrees is not None]
        apart = [one.name for one in told if not one.agrees]
        output.say(f"{len(told) - len(apart)} of {len(told)} figures agree")
        output.result({"figures": [asdict(one) for one in found], "compared": len(told),
                       "disagree": apart})  # fmt: skip
        if len(apart) > 0.1 * len(told):
            raise typer.Exit(DONE_IN_PART)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
