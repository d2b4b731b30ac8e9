"""Invented names of films, series and episodes.

The words are chosen so that a parser of file names reads them back unchanged. They contain no
numbers, no languages, and no release or edition terms.
"""

from __future__ import annotations

from experiments.rendered_tv.seeds import stream

# fmt: off
_FIRST = (
    "Amber", "Ashen", "Autumn", "Barren", "Bitter", "Borrowed", "Brazen", "Broken", "Burning",
    "Copper", "Crimson", "Crooked", "Distant", "Drowsy", "Dusty", "Eastern", "Empty", "Fading",
    "Feral", "Forgotten", "Frozen", "Gentle", "Gilded", "Hidden", "Hollow", "Humble", "Idle",
    "Ivory", "Kindly", "Lantern", "Lonely", "Marble", "Midnight", "Mossy", "Northern", "Paper",
    "Patient", "Quiet", "Restless", "Rusty", "Scarlet", "Secret", "Silver", "Sleepy", "Stolen",
    "Sunken", "Thorny", "Velvet", "Wandering", "Winter",
)
_SECOND = (
    "Acre", "Anchor", "Arcade", "Avenue", "Bakery", "Balcony", "Bridge", "Canal", "Carousel",
    "Castle", "Cellar", "Compass", "Cottage", "Crossing", "Engine", "Feather", "Ferry", "Fortune",
    "Garden", "Glacier", "Harbor", "Hotel", "Inn", "Island", "Kingdom", "Ladder", "Lagoon",
    "Market", "Meadow", "Mill", "Orchard", "Palace", "Pasture", "Pier", "Planet", "Promise",
    "Quarry", "Railway", "Reef", "River", "Shepherd", "Station", "Stranger", "Summit", "Theatre",
    "Tower", "Valley", "Village", "Voyage", "Window",
)
_EPISODES = (
    "The Visitor", "A Wrong Turn", "Rain at Noon", "The Borrowed Coat", "Two Letters",
    "The Long Table", "Low Tide", "A Small Fire", "The Understudy", "Lost Property", "Cold Soup",
    "The Bet", "An Open Gate", "Spare Keys", "The Photograph", "Old Friends", "The Bicycle",
    "Thin Ice", "A Full House", "The Map", "Loose Ends", "The Choir", "Moving Day",
    "The Locked Drawer", "A Quiet Word", "Night Bus", "The Apprentice", "Stone Soup",
    "The Whistle", "Half a Plan", "The Storm", "Second Helping", "The Neighbors", "A Fine Mess",
    "The Portrait", "Left Luggage", "The Goodbye", "High Water", "The Inheritance", "Home Again",
)
# fmt: on

#: What stands before a name when all names without it are used.
_BEFORE = ("", "Beyond the ", "Under the ", "Before the ")
_NUM_PAIRS = len(_FIRST) * len(_SECOND)
#: Number of distinct title names.
MAX_TITLE_NAMES = len(_BEFORE) * _NUM_PAIRS
#: Number of distinct episode names within one series.
MAX_EPISODE_NAMES = len(_EPISODES)


def title_name(seed: int, index: int) -> str:
    """Return the name of the title with this index in the library, distinct from all others."""
    turn, place = divmod(index, _NUM_PAIRS)
    pair = int(stream(seed, "names").permutation(_NUM_PAIRS)[place])
    return f"{_BEFORE[turn]}{_FIRST[pair // len(_SECOND)]} {_SECOND[pair % len(_SECOND)]}"


def title_year(seed: int, index: int) -> int:
    """Return the year in which a film was released."""
    return int(stream(seed, "years", index).integers(1951, 2025))


def episode_name(seed: int, title: int, episode: int) -> str:
    """Return the name of an episode (counted from 0), distinct within its series."""
    return _EPISODES[int(stream(seed, "episodes", title).permutation(MAX_EPISODE_NAMES)[episode])]
