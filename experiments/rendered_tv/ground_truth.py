"""Ground truth about a rendered file, written beside the library as JSON."""

from __future__ import annotations

import json
from typing import Any

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.script import Script, cue_track
from experiments.rendered_tv.titles import Title


def ground_truth(config: RenderedTVConfig, title: Title, script: Script) -> dict[str, Any]:
    """Describe what happens in a file. All times are in seconds from the first frame.

    The keys are `title`, `kind`, `duration_seconds`, `opening` and `credits` (half-open intervals
    `[start, stop]`, or null), `scenes`, `shots` and `events`. The `impacts` of an event are the
    times at which something hits; they are empty for kinds without hits.
    """

    def span(frames: tuple[int, int] | None) -> list[float] | None:
        return None if frames is None else [frame / config.frame_rate for frame in frames]

    def times(item: Any) -> dict[str, float]:
        return {
            "start_seconds": item.first_frame / config.frame_rate,
            "stop_seconds": item.stop_frame / config.frame_rate,
        }

    return {
        "title": title.name,
        "kind": title.path[0],
        "duration_seconds": script.num_frames / config.frame_rate,
        "opening": span(script.span("opening")),
        "credits": span(script.span("credits")),
        "scenes": [
            {
                **times(scene),
                "role": scene.role,
                "set": "/".join(map(str, scene.set_path)) if scene.set_path else None,
                "set_recurs": scene.set_recurs,
                "figures": ["/".join(map(str, path)) for path, _ in scene.figures],
                "music": {None: None, -1: "theme"}.get(scene.music, f"stock {scene.music}"),
            }
            for scene in script.scenes
        ],
        "shots": [
            {**times(shot), "scene": number, "camera": shot.camera.move}
            for number, scene in enumerate(script.scenes)
            for shot in scene.shots
        ],
        "events": [
            {
                **times(cue),
                "kind": cue.kind,
                "scene": number,
                "impacts": [
                    round(cue.first_frame / config.frame_rate + float(hit), 4)
                    for hit in cue_track(config, cue).impacts
                ],
            }
            for number, scene in enumerate(script.scenes)
            for cue in scene.cues
        ],
    }


def ground_truth_json(config: RenderedTVConfig, title: Title, script: Script) -> str:
    """Return the ground truth as JSON text."""
    return json.dumps(ground_truth(config, title, script), indent=1) + "\n"
