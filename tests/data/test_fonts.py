"""Fonts of a folder, and the packages they are fetched from, with npm simulated."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import ImageFont

from seqocr.data.sources import font_packages
from seqocr.data.sources.font_packages import Family, fetch_fonts, load_families
from seqocr.data.sources.fonts import KINDS, LIST, Font, Fonts, load_face, load_fonts
from seqocr.errors import InputError

OUTLINES = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
LISTED = [
    ("@fontsource/one", "print", "400 700"),
    ("@expo-google-fonts/two", "hand", "400Regular/Two_400Regular.ttf"),
    ("@fontsource/three", "mono", "400"),
]
# A registry is a folder of tarballs. Like npm, the stand-in gives all packages that it is asked for, or none.
NPM = """#!/bin/sh
shift
for one in "$@"; do
    case $one in -*) continue ;; esac
    file="{registry}/$(echo "${{one#@}}" | tr '/@' '--').tgz"
    test -f "$file" || {{ echo "npm error 404 $one" >&2; exit 1; }}
    files="$files $file"
    echo "$one" >> {registry}/asked
done
cp $files .
"""


def tarball(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of three families, which are all that are listed. `asked` in it tells which were downloaded."""
    folder = tmp_path / "registry"
    folder.mkdir()
    families = []
    for package, kind, files in LISTED:
        family = Family(package, "1.2.3", kind, "OFL-1.1", files, "")
        held = {member.removeprefix("package/"): OUTLINES.read_bytes() for member in family.members}
        held |= {"LICENSE": b"of the package", "files/unused.woff2": b"unused"}
        held |= {"LICENSE_FONT": b"of the font"} if "expo" in package else {}
        families.append(Family(package, "1.2.3", kind, "OFL-1.1", files, tarball(folder / family.tarball, held)))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npm").write_text(NPM.format(registry=folder))
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(font_packages, "load_families", lambda: families)
    monkeypatch.setattr(font_packages, "_BATCH", 2)
    return folder


def asked(registry: Path) -> list[str]:
    log = registry / "asked"
    names = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return names


# Folders.


def folder_of(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(OUTLINES.read_bytes())
    return place


def test_a_folder_without_a_list_is_of_printed_families(tmp_path: Path) -> None:
    fonts = load_fonts(folder_of(tmp_path, "Some-Bold.ttf", "below/Some-Regular.TTF", "Other.otf"))
    assert {font.path.name: font.family for font in fonts.fonts} == {
        "Some-Bold.ttf": "Some",
        "Some-Regular.TTF": "Some",
        "Other.otf": "Other",
    }
    assert {font.kind for font in fonts.fonts} == {"print"}
    assert fonts.families == {"Some", "Other"}


def test_a_list_names_kinds_and_licenses(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.ttf", "unlisted.ttf")
    (tmp_path / LIST).write_text("file,family,kind,license\na.ttf,A,mono,OFL-1.1\n")
    assert load_fonts(tmp_path).fonts == [Font(tmp_path / "a.ttf", "A", "mono", "OFL-1.1")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no folder of fonts"),
        ({}, "has no fonts"),
        ({LIST: "file,family,kind,license\nb.ttf,B,mono,\n"}, r"names .*b\.ttf, which is not there"),
    ],
)
def test_folders_without_fonts_are_refused(tmp_path: Path, content: dict[str, str] | None, words: str) -> None:
    if content is not None:
        (tmp_path / "fonts").mkdir()
        for name, text in content.items():
            (tmp_path / "fonts" / name).write_text(text)
    with pytest.raises(InputError, match=words):
        load_fonts(tmp_path / "fonts")


def test_what_is_no_font_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_text("no font")
    with pytest.raises(InputError, match=r"a\.ttf is no font"):
        load_face(tmp_path / "a.ttf", 20)


def drawn(fonts: Fonts, monkeypatch: pytest.MonkeyPatch, *kinds: str) -> Counter[str]:
    """How often each file is chosen in 600 draws."""
    monkeypatch.setattr("seqocr.data.sources.fonts.load_face", lambda path, size: path.name)
    rng = np.random.default_rng(0)
    return Counter(str(fonts.face(rng, 20, *kinds)) for _ in range(600))


def test_families_are_chosen_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = Fonts([Font(Path(f"one-{i}"), "one") for i in range(5)] + [Font(Path("two"), "two")])
    counts = drawn(fonts, monkeypatch, "print")
    assert 250 < counts["two"] < 350
    assert len(counts) == 6


def test_fonts_are_of_the_kinds_asked_for_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = Fonts([Font(Path(kind), kind, kind) for kind in ("print", "mono", "hand")])
    assert drawn(fonts, monkeypatch, "mono", "hand").keys() == {"mono", "hand"}
    assert drawn(fonts, monkeypatch, "display").keys() == {"print", "mono", "hand"}


def test_the_same_seed_gives_the_same_face() -> None:
    fonts = Fonts([Font(OUTLINES, "a"), Font(OUTLINES.with_name("DejaVuSerif.ttf"), "b")])
    names = [[fonts.face(rng, 20).getname() for _ in range(20)] for rng in map(np.random.default_rng, (7, 7))]
    assert names[0] == names[1]
    assert len(set(names[0])) == 2


# Packages.


def test_the_list_of_families_is_whole() -> None:
    families = load_families()
    assert len(families) > 400
    assert font_packages.FAMILIES.stat().st_size < 60_000
    kinds = Counter(family.kind for family in families)
    assert kinds.keys() == set(KINDS)
    assert min(kinds.values()) >= 25
    assert len({family.place for family in families}) == len({family.name for family in families}) == len(families)
    for family in families:
        assert len(family.sha256) == 64
        assert 1 <= len(family.members) <= 2
        assert family.license in {"OFL-1.1", "Apache-2.0", "MIT", "Ubuntu-font-1.0", "CC0-1.0", "Unlicense"}


def test_fetched_fonts_are_loaded_with_their_kinds(registry: Path, tmp_path: Path) -> None:
    assert fetch_fonts(tmp_path / "fonts") == 3
    fonts = load_fonts(tmp_path / "fonts")
    found = {str(font.path.relative_to(tmp_path / "fonts")): (font.family, font.kind) for font in fonts.fonts}
    assert found == {
        "hand/two/Two_400Regular.ttf": ("two", "hand"),
        "mono/three/three-latin-400-normal.woff2": ("three", "mono"),
        "print/one/one-latin-400-normal.woff2": ("one", "print"),
        "print/one/one-latin-700-normal.woff2": ("one", "print"),
    }
    assert {font.license for font in fonts.fonts} == {"OFL-1.1"}
    assert isinstance(fonts.face(np.random.default_rng(0), 20, "hand"), ImageFont.FreeTypeFont)
    files = {path.name for path in (tmp_path / "fonts").rglob("*") if path.is_file()}
    assert files == {LIST, "LICENSE", *(font.path.name for font in fonts.fonts)}
    assert (tmp_path / "fonts/hand/two/LICENSE").read_text() == "of the font"
    assert (tmp_path / "fonts/mono/three/LICENSE").read_text() == "of the package"
    assert asked(registry) == [f"{package}@1.2.3" for package, _, _ in LISTED]


def test_what_is_there_is_not_fetched_again(registry: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fonts", "mine.ttf")
    (folder / LIST).write_text("file,family,kind,license\nmine.ttf,mine,hand,MIT\ngone.ttf,gone,hand,MIT\n")
    fetch_fonts(folder)
    asked(registry)
    (folder / "print/one/one-latin-700-normal.woff2").unlink()
    assert fetch_fonts(folder) == 3
    assert asked(registry) == ["@fontsource/one@1.2.3"]
    assert fetch_fonts(folder) == 3
    assert asked(registry) == []
    assert Font(folder / "mine.ttf", "mine", "hand", "MIT") in load_fonts(folder).fonts
    assert load_fonts(folder).families == {"one", "two", "three", "mine"}


def test_a_package_with_other_content_is_refused_and_the_rest_is_kept(registry: Path, tmp_path: Path) -> None:
    tarball(registry / "fontsource-one-1.2.3.tgz", {"LICENSE": b"", "files/one-latin-400-normal.woff2": b"other"})
    words = r"1 of 3 font families .*fontsource-one-1\.2\.3\.tgz is corrupt.*: run the same command again.*2 are in"
    with pytest.raises(InputError, match=words):
        fetch_fonts(tmp_path / "fonts")
    assert load_fonts(tmp_path / "fonts").families == {"two", "three"}


def test_packages_that_npm_does_not_get_are_told(registry: Path, tmp_path: Path) -> None:
    (registry / "fontsource-three-1.2.3.tgz").unlink()
    with pytest.raises(InputError, match=r"1 of 3 .*404 @fontsource/three@1\.2\.3.*2 are in"):
        fetch_fonts(tmp_path / "fonts")
    assert load_fonts(tmp_path / "fonts").families == {"one", "two"}


def test_without_a_registry_it_gives_up_soon(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def npm_pack(packages: list[str], *_: object) -> list[Path]:
        calls.append(packages)
        raise RuntimeError("npm is not installed")

    families = [Family(f"@fontsource/{i}", "1.0.0", "print", "MIT", "400", "0" * 64) for i in range(100)]
    monkeypatch.setattr(font_packages, "load_families", lambda: families)
    monkeypatch.setattr(font_packages.download, "npm_pack", npm_pack)
    with pytest.raises(InputError, match=r"100 of 100 .*npm is not installed"):
        fetch_fonts(tmp_path / "fonts")
    assert len(calls) == 3


def test_a_folder_that_cannot_be_written_is_told_before_downloads(registry: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        fetch_fonts(tmp_path / "file")
    assert asked(registry) == []
