"""The verb `prepare`: proxies and segments for a catalog."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv.cli.console import Output, counted
from toomuchtv.cli.options import (
    DONE_IN_PART,
    LOCAL_JOBS,
    Address,
    Catalog,
    EngineName,
    Jobs,
    Json,
    open_engine,
    verb_output,
)

if TYPE_CHECKING:
    from toomuchtv.detection.detect import DetectionResult


def prepare(
    catalog: Catalog,
    *,
    workers: Jobs = None,
    engine: EngineName = "local",
    address: Address = None,
    short_side: Annotated[
        int, Option(help="Length of the proxies' shorter side, in pixels.")
    ] = 128,
    frame_rate: Annotated[float, Option(help="Frames per second of the proxies.")] = 8.0,
    sample_rate: Annotated[int, Option(help="Audio sample rate of the proxies, in Hz.")] = 16_000,
    quantizer: Annotated[
        int, Option(help="Video quantizer: 1 (best quality, large files) to 31.")
    ] = 4,
    language: Annotated[
        list[str] | None,
        Option(
            help="Preferred audio language: a code (deu, ger, de), a tag (pt-BR) or an English "
            "name. Repeatable."
        ),
    ] = None,
    letterbox: Annotated[Literal["keep", "crop"], Option(help="Keep or crop black bars.")] = "keep",
    scratch: Annotated[
        Path | None,
        Option(
            help="Folder on a local disk, to copy each film to and read it from there. Use it if "
            "the library is on a network disk, which then sends each film only once."
        ),
    ] = None,
    no_disk_check: Annotated[
        bool, Option("--no-disk-check", help="Begin although the disk seems to be too small.")
    ] = False,
    no_segments: Annotated[
        bool, Option("--no-segments", help="Make proxies only, and detect no segments.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make proxies, the small copies that training reads, and detect segments.

    Openings, end credits and recaps are detected by audio that recurs in several episodes of a
    show. Shots, black frames, silence, logos and the credits of films are detected from the video
    and the audio. Passages that occur in two titles are detected as duplicates. The command
    `toomuchtv catalog show` shows all of them.

    You can interrupt this command at any time. Run it again, and it continues.

    For example:

        toomuchtv prepare --catalog cat --workers 8
        toomuchtv prepare --catalog cat --language eng --language fra
        toomuchtv prepare --catalog /shared/cat --engine ray
    """
    from toomuchtv.catalog.prepare import estimate_prepare, prepare_catalog
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.detection.detect import detect_segments
    from toomuchtv.media.proxy_writer import ProxyFormat

    with (
        verb_output(as_json=as_json) as output,
        open_catalog(catalog) as opened,
        open_engine(engine, address, workers) as machines,
    ):
        proxy_format = ProxyFormat(
            short_side=short_side,
            frame_rate=frame_rate,
            sample_rate_hz=sample_rate,
            quantizer=quantizer,
            languages=tuple(language or ()),
            letterbox=letterbox,
        )
        estimate = estimate_prepare(opened, proxy_format)
        output.info(
            f"To prepare: {counted(estimate.items, 'item')} "
            f"({estimate.film_seconds / 3600:.2f} hours), with proxies of about "
            f"{format_bytes(estimate.bytes)}. {format_bytes(estimate.free_bytes)} are free."
        )
        with output.progress("s of film") as progress:
            result = prepare_catalog(
                opened,
                proxy_format,
                num_workers=workers or LOCAL_JOBS,
                engine=machines,
                scratch=scratch,
                check_disk=not no_disk_check,
                progress=progress,
            )
        output.print_values(
            f"Proxies of {catalog}",
            {
                "prepared": result.prepared,
                "prepared earlier": result.skipped,
                "failed": len(result.failed),
                "damaged": len(result.damaged),
                "size in MB": result.bytes / 1e6,
            },
        )
        for file in result.failed:
            output.warning(f"failed: {file.path}: {file.reason}")
        for damage in result.damaged:
            output.warning(f"damaged: {damage.path}: {damage}")
        for file in result.other_language:
            output.warning(
                f"no track in {' or '.join(proxy_format.languages)}: {file.path}: {file.reason}; "
                "the sound of the film is used as it is"
            )
        detection = None
        if not no_segments:
            with output.progress("s of film") as progress:
                detection = detect_segments(
                    opened,
                    num_workers=workers or LOCAL_JOBS,
                    engine=machines,
                    progress=progress,
                )
            _print_detection(output, detection)
        output.print_json(
            {**asdict(result), "found": None if detection is None else asdict(detection)}
        )
        if result.failed or result.other_language or (detection is not None and detection.failed):
            raise typer.Exit(DONE_IN_PART)


def _print_detection(output: Output, result: DetectionResult) -> None:
    output.print_values(
        "Detected segments",
        {
            "analyzed items": result.analyzed,
            **{f"{kind} segments": count for kind, count in result.segments.items()},
            "recurring passages": result.recurring,
            "passages shared by two titles": result.duplicates,
        },
    )
    for file in result.failed:
        output.warning(f"not analyzed: {file.path}: {file.reason}")
    if result.duplicates:
        output.warning(
            "warning: some titles share content, so they stay on one side of the split into "
            "training and held-out titles. `toomuchtv catalog show` lists them."
        )
