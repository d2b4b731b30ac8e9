"""Check the wheel and the source distribution that `make dist` has built.

    python -m tests.check_distributions dist

Both must contain every tracked file of the package and nothing else that is code, and each must
be smaller than 1 MB. The command prints what it found, and exits with 0 if everything is right.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import toomuchtv

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 1_000_000
#: What a source distribution has beside the package.
PROJECT_FILES = {
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "MANIFEST.in",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
}


def tracked_files() -> set[str]:
    """Return the paths of the package's files in git, relative to `src`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/toomuchtv"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {path.removeprefix("src/") for path in listed.stdout.split("\0") if path}


def wheel_files(path: Path) -> set[str]:
    """Return the files of a wheel, without its metadata."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return {name for name in names if ".dist-info/" not in name}


def source_files(path: Path) -> tuple[set[str], set[str]]:
    """Return the files of the package in a source distribution, and all its other files."""
    with tarfile.open(path) as archive:
        members = [one.name for one in archive.getmembers() if one.isfile()]
    names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in members}
    package = {name for name in names if name.startswith("src/toomuchtv/")}
    others = {name for name in names - package if ".egg-info/" not in name}
    return {name.removeprefix("src/") for name in package}, others


def main() -> None:
    """Check the two files in the folder that is the only argument."""
    folder = Path(sys.argv[1])
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    expected = tracked_files()
    package, others = source_files(source)
    for path, found in ((wheel, wheel_files(wheel)), (source, package)):
        print(f"{path.name}: {len(found)} files of the package, {path.stat().st_size:,} bytes")
        assert found == expected, f"{path.name} differs in {sorted(found ^ expected)}"
        assert path.stat().st_size < MAX_BYTES, path
        assert path.name.startswith(f"toomuchtv-{toomuchtv.__version__}"), path
    assert others == PROJECT_FILES, sorted(others ^ PROJECT_FILES)


if __name__ == "__main__":
    main()
