"""The verbs `index info`, `index check` and `index export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv.cli.options import DONE_IN_PART, Json, verb_output

Index = Annotated[Path, Argument(metavar="IDX", help="Folder of the index.")]
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

    A damaged or missing file is made again by `toomuchtv embed`.

    For example:

        toomuchtv index check idx
    """
    from toomuchtv.search.index_check import check_index

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
    out: Annotated[Path, Option("--out", help="Folder to write; it must not exist.")],
    encoder: Annotated[
        str | None, Option(help="Name of the encoder. Default: the only one of the index.")
    ] = None,
    catalog: MovedCatalog = None,
    as_json: Json = False,
) -> None:
    """Write the embeddings of an encoder as NumPy files, for other programs.

    The folder gets `video.npy` and `audio.npy` (float16, one row for each window), `windows.csv`
    (item, name, path, start and stop of each window) and `encoder.json`.

    For example:

        toomuchtv index export idx --out vectors
    """
    from toomuchtv.search.index import open_index
    from toomuchtv.search.index_export import export_vectors

    with verb_output(as_json=as_json) as output, open_index(index, catalog=catalog) as opened:
        with output.progress("windows") as progress:
            written = export_vectors(opened, out, encoder=encoder, progress=progress)
        output.info(f"{written} windows are in {out}.")
        output.print_json({"windows": written, "folder": out})
        for problem in opened.problems:
            output.warning(problem)
        if opened.problems:
            raise typer.Exit(DONE_IN_PART)
