"""The verbs `index info`, `index check` and `index export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv.cli.console import counted
from toomuchtv.cli.options import DONE_IN_PART, Json, verb_output

Index = Annotated[
    str, Argument(metavar="IDX", help="Folder of the index, or address of a copy in LanceDB.")
]
MovedCatalog = Annotated[
    Path | None, Option("--catalog", help="Folder of the catalog, if it has moved.")
]


def info(index: Index, *, catalog: MovedCatalog = None, as_json: Json = False) -> None:
    """Show the encoders of an index, how much each has embedded, and its calibration.

    For example:

        toomuchtv index info idx
    """
    from toomuchtv.search.index import open_index

    with verb_output(as_json=as_json) as output, open_index(index, catalog=catalog) as opened:
        described = []
        for name, encoder in opened.encoders.items():
            record, calibration = encoder.record, encoder.calibration
            output.print_values(
                f"Encoder {name}",
                {
                    "source": record.source,
                    "fingerprint": record.fingerprint[:16],
                    "windows": len(encoder),
                    "items": len(encoder.items),
                    "window in s": record.window_seconds,
                    "stride in s": record.stride_seconds,
                    "size of a video vector": record.video_dim or "none",
                    "size of an audio vector": record.audio_dim or "none",
                    "text finds": " and ".join(record.text_modalities) or "nothing",
                },
            )
            directions = () if calibration is None else calibration.directions
            if calibration is not None:
                output.print_table(
                    f"Similarities of random moments of different {calibration.group}s",
                    ["query", "moment", "mean", "deviation", "confident from"],
                    [
                        [d.query_modality, d.modality, d.mean, d.std, d.threshold]
                        for d in directions
                    ],
                )
            described.append(
                {
                    **record.model_dump(),
                    "windows": len(encoder),
                    "items": len(encoder.items),
                    "calibration": [direction.model_dump() for direction in directions],
                }
            )
        for problem in opened.problems:
            output.warning(problem)
        output.print_json(
            {
                "catalog": str(opened.catalog.folder),
                "encoders": described,
                "problems": list(opened.problems),
            }
        )
        if opened.problems:
            raise typer.Exit(DONE_IN_PART)


def check(index: Index, *, catalog: MovedCatalog = None, as_json: Json = False) -> None:
    """Read every file of an index, and report what is damaged, missing or superfluous.

    A damaged or missing file is made again by `toomuchtv embed`. Of a copy in LanceDB, the recall
    is measured: the share of the ten most similar windows that its approximate search finds.

    For example:

        toomuchtv index check idx
        toomuchtv index check s3://bucket/idx
    """
    from toomuchtv.search.index_check import check_index, measure_recall
    from toomuchtv.search.lance_store import is_lance_index

    if is_lance_index(index):
        with verb_output(as_json=as_json) as output:
            with output.progress("queries") as progress:
                found = measure_recall(index, catalog=catalog, progress=progress)
            output.print_table(
                f"Recall at 10 of the copy {index}",
                ["encoder", "modality", "windows", "recall", "median in ms", "95% in ms"],
                [
                    [r.encoder, r.modality, r.num_windows, r.recall, r.p50_ms, r.p95_ms]
                    for r in found
                ],
            )
            output.print_json({"recall": [r.as_dict() for r in found]})
        return
    with verb_output(as_json=as_json) as output:
        with output.progress("files") as progress:
            result = check_index(index, catalog=catalog, progress=progress)
        output.print_values(
            f"Index {index}",
            {
                "files": result.num_files,
                "size": format_bytes(result.num_bytes),
                "damaged": len(result.damaged),
                "items without embeddings": result.num_missing,
                "files that no item needs": result.num_superfluous,
            },
        )
        for message in result.damaged:
            output.warning(message)
        if result.num_missing:
            output.warning("run `toomuchtv embed` again to embed the items that are missing")
        output.print_json(result.as_dict())
        if result.damaged or result.num_missing:
            raise typer.Exit(DONE_IN_PART)


def export(
    index: Index,
    *,
    out: Annotated[
        str,
        Option(
            "--out",
            metavar="OUT",
            help="Folder to write; it must not exist. With lance: folder or URI of the copy.",
        ),
    ],
    to: Annotated[
        Literal["numpy", "parquet", "lance"],
        Option("--to", help="NumPy files, a Parquet file, or a copy in LanceDB for searching."),
    ] = "numpy",
    encoder: Annotated[
        str | None,
        Option(help="Name of the encoder. Default: the only one of the index. LanceDB has all."),
    ] = None,
    catalog: MovedCatalog = None,
    as_json: Json = False,
) -> None:
    """Write the embeddings of an index for other programs, or copy the index into LanceDB.

    As NumPy files: `video.npy` and `audio.npy` (float16, one row for each window), `windows.csv`
    (item, name, path, start and stop of each window) and `encoder.json`. As Parquet: the same in
    `windows.parquet`. A copy in LanceDB is for more than five million windows or for object
    storage: `search`, `serve` and `open_index` take its address. Repeat the command after `embed`
    to bring the copy up to date.

    For example:

        toomuchtv index export idx --out vectors
        toomuchtv index export idx --out vectors --to parquet
        toomuchtv index export idx --out s3://bucket/idx --to lance
    """
    from toomuchtv.search.index import open_index
    from toomuchtv.search.index_export import export_vectors
    from toomuchtv.search.lance_publishing import publish_index

    with verb_output(as_json=as_json) as output:
        if to == "lance":
            if encoder is not None:
                raise ValueError("a copy in LanceDB has all encoders: omit --encoder")
            with output.progress("windows") as progress:
                done = publish_index(index, out, progress=progress)
            output.info(
                f"{out} has {counted(done.num_windows, 'window')}. Items added: {done.added}, "
                f"kept: {done.kept}, removed: {done.removed}."
            )
            output.print_json({**asdict(done), "out": out})
            return
        with open_index(index, catalog=catalog) as opened:
            with output.progress("windows") as progress:
                written = export_vectors(opened, out, encoder=encoder, format=to, progress=progress)
            output.info(f"Written: {counted(written, 'window')} in {out}.")
            output.print_json({"windows": written, "folder": out})
            for problem in opened.problems:
                output.warning(problem)
            if opened.problems:
                raise typer.Exit(DONE_IN_PART)
