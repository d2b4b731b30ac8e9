"""The verb `embed`: the embeddings of a catalog's items, for searching."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from toomuchtv._internal.byte_size import format_bytes
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


def embed(
    encoder: Annotated[
        str,
        Argument(
            metavar="RUN",
            help="Folder of a run, of an exported model or of a transformers model, or an encoder "
            "as `evaluate --encoder` takes it.",
        ),
    ],
    *,
    catalog: Catalog,
    index: Annotated[Path, Option("--index", help="Folder of the index; made if needed.")],
    name: Annotated[
        str | None, Option(help="Name of the encoder in the index. Default: that of its folder.")
    ] = None,
    window_seconds: Annotated[
        float | None,
        Option(help="Duration of a window. Default: that of a clip in training."),
    ] = None,
    stride_seconds: Annotated[float, Option(help="Time between the starts of two windows.")] = 1.0,
    workers: Jobs = None,
    engine: EngineName = "local",
    address: Address = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Option(
            help="Where to run the encoder. With the engine ray, `cuda` gives each film or episode "
            "a GPU, and `auto` gives none."
        ),
    ] = "auto",
    replace: Annotated[
        bool,
        Option("--replace", help="Replace an encoder of this name that has other weights."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Embed every film and episode of a prepared catalog, so that moments can be found.

    Each item is cut into windows, and each window becomes one vector of its look and one of its
    sound. One index may hold several encoders.

    You can interrupt this command at any time. Run it again, and it continues. After `scan` and
    `prepare` have found new, changed or removed films, run it again too: only these are embedded
    anew. Searches may go on meanwhile.

    For example:

        toomuchtv embed runs/first --catalog cat --index idx
        toomuchtv embed models/clip --catalog cat --index idx
        toomuchtv embed runs/first --catalog /shared/cat --index /shared/idx --engine ray
    """
    from toomuchtv.search.embedding import embed_catalog

    with (
        verb_output(as_json=as_json) as output,
        open_engine(
            engine, address, workers, gpus_per_job=1.0 if device == "cuda" else 0.0
        ) as machines,
    ):
        with output.progress("s of film") as progress:
            result = embed_catalog(
                encoder,
                catalog,
                index,
                name=name,
                window_seconds=window_seconds,
                stride_seconds=stride_seconds,
                num_workers=workers or LOCAL_JOBS,
                engine=machines,
                # A Ray job without a GPU of its own may still see those of its machine.
                device="cpu" if (engine, device) == ("ray", "auto") else device,
                replace=replace,
                progress=progress,
            )
        for message in result.rebuilt:
            output.warning(f"replaced: {message}")
        for file in result.failed:
            output.warning(f"failed: {file.path}: {file.reason}")
        output.print_values(
            f"Index {index}, encoder {result.encoder.name}",
            {
                "embedded": result.embedded,
                "embedded earlier": result.kept,
                "removed": result.removed,
                "failed": len(result.failed),
                "windows": result.num_windows,
                "size": format_bytes(result.bytes),
            },
        )
        output.print_json({**asdict(result), "encoder": result.encoder.model_dump()})
        if result.failed:
            raise typer.Exit(DONE_IN_PART)
