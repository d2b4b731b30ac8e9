"""What the official lists of benchmarks contain: classes, folds and numbers of clips.

A list is compared with these. A class or a fold that is not official is an error, and what is
missing is reported, so that a cut or edited list is never scored as if it were the benchmark.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toomuchtv.evaluation.datasets.tables import RowError, spelling_key

Sizes = tuple[int | None, int | None, int | None]
"""Numbers of clips of a fold to train on, to validate on and to test on; None if not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """The official contents of a benchmark; what is not known is empty or None.

    Attributes:
        title: Name of the benchmark in print.
        classes: Names of all classes.
        num_classes: Numbers of classes of the benchmark's versions.
        sizes: Numbers of clips by the name of the fold.
    """

    title: str
    classes: tuple[str, ...] = ()
    num_classes: tuple[int, ...] = ()
    sizes: Mapping[str, Sizes] | None = None

    def if_named(self, labels: Iterable[str]) -> Official | None:
        """Return this, or None if at most half of the classes are classes of the benchmark.

        People keep data of their own in the layout of a benchmark. Their classes have nothing to be
        compared with, even if one or another has an official name. Where most classes are official,
        the others are errors.
        """
        known = _by_spelling(self.classes)
        classes = {spelling_key(label) for label in labels if label}
        return self if 2 * len(classes & known.keys()) > len(classes) else None

    def own_classes_note(self) -> str:
        """Return the note of a result on classes that are none of the benchmark's."""
        return (
            f"most of the listed classes are not {self.title}'s: these are data of your own in "
            "its layout, and the scores say nothing about it"
        )

    def label(self, text: str) -> str:
        """Return the official spelling of a class.

        Raises:
            RowError: It is no class of the benchmark.
        """
        name = _by_spelling(self.classes).get(spelling_key(text))
        if name is None:
            raise RowError(
                f"{text!r} is no class of {self.title}; use the benchmark csv or folder for "
                "classes of your own"
            )
        return name

    def fold(self, number: int) -> str:
        """Return the name of an official fold.

        Raises:
            RowError: There is no such fold.
        """
        assert self.sizes is not None
        if str(number) not in self.sizes:
            raise RowError(f"{self.title} has the folds {', '.join(self.sizes)}, got {number}")
        return str(number)

    def gaps(self, classes: Sequence[str], sizes: Mapping[str, Sizes]) -> list[str]:
        """Return what lists lack or have too much of, compared with the official ones.

        Args:
            classes: Names of the classes that are listed.
            sizes: Numbers of the clips that are listed, by the name of the fold.
        """
        found = []
        nums = (len(self.classes),) if self.classes else self.num_classes
        if nums and len(classes) not in nums:
            expected = " or ".join(map(str, nums))
            lacking = sorted({*self.classes} - {*classes})
            which = f" (without {', '.join(lacking[:5])}{' ...' * (len(lacking) > 5)})"
            found.append(
                f"its lists have {len(classes)} of the {expected} classes of {self.title}"
                + (which if lacking else "")
            )
        differing = []
        for fold, official in (self.sizes or {}).items():
            listed = sizes.get(fold, (0, 0, 0))
            differing += [
                f"{have} instead of {must} clips to {verb} in {'fold ' * fold.isdigit()}{fold}"
                for have, must, verb in zip(
                    listed, official, ("train on", "validate on", "test on"), strict=True
                )
                if must is not None and have != must
            ]
        if differing:
            more = f" and {len(differing) - 3} more differences" if len(differing) > 3 else ""
            found.append(f"its lists have {', '.join(differing[:3])}{more}")
        return found


@functools.cache
def _by_spelling(classes: tuple[str, ...]) -> dict[str, str]:
    return {spelling_key(name): name for name in classes}


def _cross_validation(test_sizes: Sequence[int]) -> dict[str, Sizes]:
    total = sum(test_sizes)
    return {str(number): (total - size, 0, size) for number, size in enumerate(test_sizes, start=1)}


_ESC10_CLASSES = (
    "dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby", "sneezing",
    "clock_tick", "helicopter", "chainsaw",
)  # fmt: skip
# In the order of the column `target`.
_ESC50_CLASSES = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow", "rain",
    "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind",
    "pouring_water", "toilet_flush", "thunderstorm", "crying_baby", "sneezing", "clapping",
    "breathing", "coughing", "footsteps", "laughing", "brushing_teeth", "snoring",
    "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks",
    "can_opening", "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick",
    "glass_breaking", "helicopter", "chainsaw", "siren", "car_horn", "engine", "train",
    "church_bells", "airplane", "fireworks", "hand_saw",
)  # fmt: skip
_UCF101_CLASSES = (
    "ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching",
    "BaseballPitch", "Basketball", "BasketballDunk", "BenchPress", "Biking", "Billiards",
    "BlowDryHair", "BlowingCandles", "BodyWeightSquats", "Bowling", "BoxingPunchingBag",
    "BoxingSpeedBag", "BreastStroke", "BrushingTeeth", "CleanAndJerk", "CliffDiving",
    "CricketBowling", "CricketShot", "CuttingInKitchen", "Diving", "Drumming", "Fencing",
    "FieldHockeyPenalty", "FloorGymnastics", "FrisbeeCatch", "FrontCrawl", "GolfSwing", "Haircut",
    "Hammering", "HammerThrow", "HandstandPushups", "HandstandWalking", "HeadMassage", "HighJump",
    "HorseRace", "HorseRiding", "HulaHoop", "IceDancing", "JavelinThrow", "JugglingBalls",
    "JumpingJack", "JumpRope", "Kayaking", "Knitting", "LongJump", "Lunges", "MilitaryParade",
    "Mixing", "MoppingFloor", "Nunchucks", "ParallelBars", "PizzaTossing", "PlayingCello",
    "PlayingDaf", "PlayingDhol", "PlayingFlute", "PlayingGuitar", "PlayingPiano", "PlayingSitar",
    "PlayingTabla", "PlayingViolin", "PoleVault", "PommelHorse", "PullUps", "Punch", "PushUps",
    "Rafting", "RockClimbingIndoor", "RopeClimbing", "Rowing", "SalsaSpin", "ShavingBeard",
    "Shotput", "SkateBoarding", "Skiing", "Skijet", "SkyDiving", "SoccerJuggling", "SoccerPenalty",
    "StillRings", "SumoWrestling", "Surfing", "Swing", "TableTennisShot", "TaiChi", "TennisSwing",
    "ThrowDiscus", "TrampolineJumping", "Typing", "UnevenBars", "VolleyballSpiking",
    "WalkingWithDog", "WallPushups", "WritingOnBoard", "YoYo",
)  # fmt: skip
_HMDB51_CLASSES = (
    "brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive",
    "draw_sword", "dribble", "drink", "eat", "fall_floor", "fencing", "flic_flac", "golf",
    "handstand", "hit", "hug", "jump", "kick", "kick_ball", "kiss", "laugh", "pick", "pour",
    "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse", "run", "shake_hands",
    "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault",
    "stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave",
)  # fmt: skip

ESC50 = Official(title="ESC-50", classes=_ESC50_CLASSES, sizes=_cross_validation([400] * 5))
ESC10 = Official(title="ESC-10", classes=_ESC10_CLASSES, sizes=_cross_validation([80] * 5))
URBANSOUND8K = Official(
    title="UrbanSound8K",
    classes=(
        "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling",
        "engine_idling", "gun_shot", "jackhammer", "siren", "street_music",
    ),
    sizes=_cross_validation([873, 888, 925, 990, 936, 823, 838, 806, 816, 837]),
)  # fmt: skip
FSD50K = Official(title="FSD50K", num_classes=(200,), sizes={"eval": (36_796, 4_170, 10_231)})
DCASE2013 = Official(
    title="DCASE 2013",
    classes=(
        "bus", "busystreet", "office", "openairmarket", "park", "quietstreet", "restaurant",
        "supermarket", "tube", "tubestation",
    ),
    sizes={"test": (100, 0, 100)},
)  # fmt: skip
UCF101 = Official(
    title="UCF101",
    classes=_UCF101_CLASSES,
    sizes={
        "split 1": (9_537, 0, 3_783), "split 2": (9_586, 0, 3_734), "split 3": (9_624, 0, 3_696),
    },
)  # fmt: skip
HMDB51 = Official(
    title="HMDB51",
    classes=_HMDB51_CLASSES,
    sizes={f"split {split}": (3_570, 0, 1_530) for split in (1, 2, 3)},
)
KINETICS = Official(title="Kinetics", num_classes=(400, 600, 700))
VGGSOUND = Official(title="VGGSound", num_classes=(309,), sizes={"test": (None, None, 15_446)})
AUDIOSET = Official(title="AudioSet", num_classes=(527,), sizes={"test": (None, None, 20_371)})
