"""One title: a film, a series, a short clip or a source of transfer clips, with its signature."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.rendered_tv.acoustics import Acoustics, draw_acoustics
from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.look import Look, draw_look
from experiments.rendered_tv.music import Theme, draw_theme
from experiments.rendered_tv.names import title_name, title_year
from experiments.rendered_tv.seeds import stream

#: Number of pieces of stock music, which all titles share for scenes without their own theme.
NUM_STOCK_THEMES = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Title:
    """A title and everything that recurs through it.

    Attributes:
        path: Identifies the title's random streams, for example `("movie", 3)`.
        name: Display name.
        year: Year of release of a film, None for a series.
        is_show: True for a series.
        look: Visual signature.
        acoustics: Audio signature without the music.
        theme: The title's own music.
        kinds: Names of the event kinds that happen in it.
        num_sets: Number of recurring sets.
        num_figures: Number of recurring characters.
    """

    path: tuple[str, int]
    name: str
    year: int | None
    is_show: bool
    look: Look
    acoustics: Acoustics
    theme: Theme
    kinds: tuple[str, ...]
    num_sets: int
    num_figures: int


def draw_title(config: RenderedTVConfig, group: str, index: int) -> Title:
    """Draw a title as a pure function of the arguments.

    Args:
        config: Settings of the rendered library.
        group: `movie`, `show`, `clip` or `transfer`.
        index: The title's number within its group, from 0.
    """
    rng = stream(config.seed, group, index, "title")
    unseen, is_show = group == "transfer", group == "show"
    diversity = _diversity(config, group)
    count = max(min(2, len(config.kinds)), round(diversity * len(config.kinds)))
    chosen = set(rng.permutation(len(config.kinds))[:count].tolist())
    before = {"show": config.movies, "clip": config.movies + config.shows}
    place = index + before.get(group, 0)
    return Title(
        path=(group, index),
        name=f"Transfer {index + 1:02d}" if unseen else title_name(config.seed, place),
        year=title_year(config.seed, place) if group == "movie" else None,
        is_show=is_show,
        look=draw_look(
            stream(config.seed, group, index, "look"),
            config.signature_picture,
            # 5 is coprime with 8, so eight consecutive titles cover the whole color circle.
            sector=(5 * index + int(stream(config.seed, group, "hues").integers(0, 8))) % 8,
            unseen=unseen,
        ),
        acoustics=draw_acoustics(
            stream(config.seed, group, index, "acoustics"), config.signature_sound, unseen=unseen
        ),
        theme=draw_theme(stream(config.seed, group, index, "theme")),
        kinds=tuple(name for k, name in enumerate(config.kinds) if k in chosen),
        # A film visits many places. A series returns to a few sets.
        num_sets=2 + round(diversity * (3 if is_show else 8)),
        num_figures=3 + round(diversity * (2 if is_show else 5)),
    )


def stock_theme(config: RenderedTVConfig, number: int) -> Theme:
    """Return a piece of stock music, which belongs to no title."""
    return draw_theme(stream(config.seed, "stock", number))


def _diversity(config: RenderedTVConfig, group: str) -> float:
    if group == "transfer":
        return 1.0
    if group == "show":
        return config.diversity / 2 if config.show_diversity is None else config.show_diversity
    return config.diversity
