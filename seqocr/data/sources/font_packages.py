"""Font families under free licenses from the npm registry: packages of Fontsource and Expo, listed with checksums.

Each family goes to KIND/NAME/ below a folder, with its license. `fonts.csv` there tells `load_fonts` what there is.
"""

from __future__ import annotations

import csv
import io
import logging
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqocr.data.sources import download
from seqocr.data.sources.fonts import LIST, Font
from seqocr.errors import InputError
from seqocr.files import replacing_all, shown, writable, write_text
from seqocr.progress import progress

log = logging.getLogger(__name__)

FAMILIES = Path(__file__).with_name("font_families.csv")
LICENSE = "LICENSE"
_COLUMNS = ("file", "family", "kind", "license")  # of the list that `load_fonts` reads
_LICENSES = ("package/LICENSE_FONT", "package/LICENSE")  # Expo's packages have one of their own beside the font's
_BATCH = 8  # packages for one call of npm: it starts in half a second, as long as a package takes
_SECONDS = 60  # for a package: the largest has 13 MB
_MOST_FAULTS = 3  # calls that fail, or packages with wrong content, until the registry counts as out of reach


@dataclass(frozen=True)
class Family:
    """A package of the npm registry that holds a font family.

    Attributes:
        kind: one of `seqocr.data.sources.fonts.KINDS`; license: its name (SPDX).
        files: below the package's own folder. A number stands for that weight of Fontsource's latin subset.
        sha256: of the tarball.
    """

    package: str
    version: str
    kind: str
    license: str
    files: str
    sha256: str

    @property
    def name(self) -> str:
        return self.package.rpartition("/")[2]

    @property
    def place(self) -> Path:
        """Its folder, below that of all fonts."""
        return Path(self.kind, self.name)

    @property
    def members(self) -> list[str]:
        """Fonts in the tarball, by path."""
        files = [f"files/{self.name}-latin-{one}-normal.woff2" if one.isdigit() else one for one in self.files.split()]
        return [f"package/{file}" for file in files]

    @property
    def fonts(self) -> list[Font]:
        """With paths below the folder of all fonts."""
        return [Font(self.place / Path(member).name, self.name, self.kind, self.license) for member in self.members]

    @property
    def tarball(self) -> str:
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def is_in(self, folder: Path) -> bool:
        names = [LICENSE, *(font.path.name for font in self.fonts)]
        return all((folder / self.place / name).is_file() for name in names)


def load_families(path: Path = FAMILIES) -> list[Family]:
    """The families that `fetch_fonts` gets, some 450."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Family(**row) for row in csv.DictReader(file)]


def fetch_fonts(folder: Path) -> int:
    """Download the listed font families to a folder, but those that are there.

    An interrupted call leaves whole families, and the next one gets the others. Other fonts that the folder lists stay.

    Returns:
        The number of families.

    Raises:
        InputError: the folder cannot be written, or some families could not be had; those that could are there.
    """
    writable(folder)
    families = load_families()
    missing = [family for family in families if not family.is_in(folder)]
    faults: list[str] = []
    with progress("font families", len(families), len(families) - len(missing)) as report:
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            faults += _fetch(batch, folder)
            report.advance(steps=len(batch))
            _write_list(families, folder)
            if len(faults) >= _MOST_FAULTS:
                break
    count = sum(family.is_in(folder) for family in families)
    if faults:
        raise InputError(
            f"{len(families) - count:,} of {len(families):,} font families could not be had ({shown(faults[0])}): "
            f"run the same command again where the npm registry can be reached; {count:,} are in {shown(folder)}"
        )
    _write_list(families, folder)
    log.info("%s font families in %s, %s of them new", f"{count:,}", shown(folder), f"{len(missing):,}")
    return count


def _fetch(families: Sequence[Family], folder: Path) -> list[str]:
    """Install these families. Returns what kept some from it."""
    with tempfile.TemporaryDirectory() as scratch:
        packages = [f"{family.package}@{family.version}" for family in families]
        try:
            download.npm_pack(packages, Path(scratch), _SECONDS)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            return [download.last_line(error)]
        faults = []
        for family in families:
            tarball = Path(scratch, family.tarball)
            if fault := download.fault(tarball, family.sha256):
                faults.append(fault)
            else:
                _unpack(family, tarball, folder)
    return faults


def _unpack(family: Family, tarball: Path, folder: Path) -> None:
    with tarfile.open(tarball) as archive, replacing_all(folder / family.place) as temporary:
        license_file = next(name for name in _LICENSES if name in archive.getnames())
        names = {member: Path(member).name for member in family.members} | {license_file: LICENSE}
        for member, name in names.items():
            content = archive.extractfile(member)
            assert content is not None  # the checksum is that of a package where it is a file
            (temporary / name).write_bytes(content.read())


def _write_list(families: Iterable[Family], folder: Path) -> None:
    """List the families that are there, and what else was listed and is there."""
    listed = folder / LIST
    rows: dict[str, tuple[str, ...]] = {}
    if listed.is_file():
        with listed.open(encoding="utf-8", newline="") as file:
            others = [tuple(row.get(column) or "" for column in _COLUMNS) for row in csv.DictReader(file)]
        rows = {row[0]: row for row in others if (folder / row[0]).is_file()}
    for font in [font for family in families if family.is_in(folder) for font in family.fonts]:
        rows[font.path.as_posix()] = (font.path.as_posix(), font.family, font.kind, font.license)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *sorted(rows.values())])
    write_text(listed, text.getvalue())
