"""Damaged catalogs: every damage must be a `CatalogError`, and none may be read as data.

    python -m benchmarks.fuzz_catalog --damages 400 --out DIR --json FILE      1 minute

The database of a small prepared catalog is damaged: flipped bits, zeroed and overwritten ranges,
cuts and swapped blocks. Then everything is read from it. Half of the catalogs have their checksum;
the others are as after a writer that was killed, when only the form and the types can be checked.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

from benchmarks.figures import Figures, argument_parser
from tests.prepared import make_prepared_catalog
from toomuchtv.catalog.description import describe_catalog
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.errors import CatalogError


def read_everything(folder: Path) -> object:
    """Return all that a catalog holds."""
    with open_catalog(folder) as catalog:
        items = catalog.items(include_extras=True, include_missing=True)
        snapshot = catalog.snapshot()
        return (
            items, catalog.titles(), catalog.proxies(include_stale=True), catalog.segments(),
            catalog.skipped_files(), catalog.duplicates(), catalog.title_duplicates(),
            catalog.detection_sources(), catalog.library, repr(snapshot),
            repr(describe_catalog(catalog).titles),
        )  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a file with one damage."""
    changed = bytearray(data)
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randint(1, 2000))
    match rng.choice(["bits", "zeros", "noise", "cut", "swap"]):
        case "bits":
            for _ in range(rng.randint(1, 8)):
                changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "zeros":
            changed[start:stop] = bytes(stop - start)
        case "noise":
            changed[start:stop] = rng.randbytes(stop - start)
        case "cut":
            del changed[start:]
        case "swap":
            other = rng.randrange(len(data) - (stop - start))
            changed[start:stop] = data[other : other + stop - start]
    return bytes(changed)


def main() -> None:
    """Run the campaign."""
    parser = argument_parser(__doc__)
    parser.add_argument("--damages", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    folder = make_prepared_catalog(options.out)
    detect_segments(folder)
    expected = read_everything(folder)
    database, seal = folder / "catalog.sqlite", folder / "catalog.sqlite.sum"
    data, checksum = database.read_bytes(), seal.read_bytes()
    counts: Counter[str] = Counter()
    for number in range(options.damages):
        rng = random.Random(options.seed + number)
        kind = "sealed" if number % 2 else "unsealed"
        database.write_bytes(damaged(data, rng))
        for log in folder.glob("catalog.sqlite-*"):
            log.unlink()
        seal.unlink(missing_ok=True)
        if kind == "sealed":
            seal.write_bytes(checksum)
        try:
            found = "without_effect" if read_everything(folder) == expected else "unseen"
        except CatalogError as error:
            found = "refused" if str(folder) in str(error) else "refused_without_the_name"
        except Exception as error:  # noqa: BLE001 - this is what the campaign looks for
            found = "other_error"
            print(f"{kind}, seed {options.seed + number}: {type(error).__name__}: {error}")
        counts[f"{kind}_{found}"] += 1
    Figures("fuzz_catalog", options.json).add(dict(sorted(counts.items())))


if __name__ == "__main__":
    main()
