"""The verb `export`: the encoders of a run, for others to load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from toomuchtv.cli.console import Output
from toomuchtv.cli.options import Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.export.onnx_files import OnnxExport


def export(
    run: Annotated[Path, Argument(help="Folder of a run whose training has finished.")],
    *,
    to: Annotated[
        Literal["hub", "onnx"],
        Option(help="Format. hub: weights and settings for PyTorch; onnx: files for onnxruntime."),
    ],
    out: Annotated[Path, Option(help="Folder to write. It must not exist yet, or be empty.")],
    list_titles: Annotated[
        bool, Option("--list-titles", help="Name the titles of the run in the model card.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export the encoders of a run, with a model card, for others to load.

    With --to hub, the folder has the layout of the Hugging Face Hub: config.json,
    preprocessor_config.json, model.safetensors and the card, README.md. `toomuchtv.load` and
    `TwoTower.from_pretrained` read it. Nothing is uploaded: `hf upload` does that.

    With --to onnx, the folder has video.onnx, which takes decoded frames, and audio.onnx, which
    takes a waveform. All preprocessing is inside. The files are compared with PyTorch, and the card
    states the largest difference and the speed of both. This needs the extra: pip install
    'toomuchtv[onnx]'.

    The card is filled from the run: hours and numbers of titles, sampling policy, training steps,
    and the results of `toomuchtv evaluate` with their intervals. Names of titles are left out
    unless you pass --list-titles. Read the card before you publish it, and choose a licence.

    For example:

        toomuchtv export runs/first --to hub --out first-hub
        toomuchtv export runs/first --to onnx --out first-onnx
        hf upload NAME/first first-hub
    """
    with verb_output(as_json=as_json) as output:
        if to == "hub":
            from toomuchtv.export.hub import export_hub

            export_hub(run, out, list_titles=list_titles)
            values = {}
        else:
            from toomuchtv.export.onnx_files import export_onnx

            with output.progress("") as progress:
                exported = export_onnx(run, out, list_titles=list_titles, progress=progress)
            _print_onnx(output, exported)
            values = asdict(exported)
        files = sorted(path.name for path in out.iterdir())
        output.info(f"{out}: {', '.join(files)}")
        output.print_json({**values, "folder": out, "to": to, "files": files})


def _print_onnx(output: Output, exported: OnnxExport) -> None:
    from toomuchtv.export.speed import SPEED_HEADER

    output.print_values(
        "Largest difference from PyTorch",
        {modality: f"{value:.1e}" for modality, value in exported.differences.items()},
    )
    output.print_table(
        "Clips per CPU second, median (lowest to highest)",
        SPEED_HEADER,
        [speed.row() for speed in exported.speeds],
    )
