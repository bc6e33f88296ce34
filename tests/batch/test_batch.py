"""Reading at scale: one row an image, in order, whatever is broken, and whoever is killed."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
import fsspec
import pyarrow as pa
from pyarrow import parquet

from seqocr import demo
from seqocr.batch import engines
from seqocr.batch import shards as reading
from seqocr.batch.runner import PLAN, predict_batch
from seqocr.batch.shards import LineReader
from seqocr.batch.sources import Shard, Source
from seqocr.errors import InputError
from seqocr.inference.load import load
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.shipped import graphs_path
from tests.batch.deadly import Deadly
from tests.conftest import exported_once, lively, small_recognizer

EXAMPLES = sorted((Path(demo.__file__).parent / "examples").glob("*.png"))
BROKEN = EXAMPLES[0].read_bytes()[:200]


def here(job: reading.Job, shards: list[Shard]) -> Any:
    """An engine without processes."""
    return map(job, shards)


def run(
    source: Any, out: Any, engine: Any = here, head: str = "parallel", size: int = 4, weights: Path | None = None
) -> Any:
    return predict_batch(str(source), str(out), engine, str(weights) if weights else None, head, size)


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in parquet.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images, some in a folder below, one of them broken, and a file that is no image."""
    found = tmp_path_factory.mktemp("lines")
    (found / "below").mkdir()
    for i in range(10):
        (found / ("below" if i % 2 else ".") / f"{i}.png").write_bytes(EXAMPLES[i % len(EXAMPLES)].read_bytes())
    (found / "broken.png").write_bytes(BROKEN)
    (found / "notes.txt").write_text("no image")
    return found


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def of_ar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graphs of the autoregressive head, which are not shipped."""
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    return exported_once(lively(small_recognizer(max_length=3), scale=0.4), tmp_path_factory)


@pytest.mark.parametrize("head", ["parallel", "ctc", "ar"])
def test_one_row_an_image_in_order_as_the_library_reads_it(
    folder: Path, tmp_path: Path, head: str, request: pytest.FixtureRequest
) -> None:
    weights = request.getfixturevalue("of_ar") if head == "ar" else None
    summary = run(folder, tmp_path / "out", head=head, weights=weights)
    found = rows(tmp_path / "out")
    names = [row["file_name"] for row in found]
    assert names == sorted(names)
    assert len(names) == summary.lines == 11
    reader = load(str(weights) if weights else None, head, "cpu")
    for row in found:
        if row["file_name"] == "broken.png":
            assert "broken.png" in row["problem"]
            assert (row["text"], row["confidence"], row["symbol_confidences"]) == (None, None, None)
            continue
        image = Image.open(folder / row["file_name"]).convert("L")
        (prediction,) = predict(reader, [image], ReadOptions(head))
        assert (row["text"], row["problem"]) == (prediction.text, None)
        assert row["confidence"] == pytest.approx(prediction.confidence, rel=1e-6)
        assert len(row["symbol_confidences"]) == len(row["text"])
        assert all(0 < p <= 1 for p in row["symbol_confidences"])
    assert summary.problems == 1


def test_weights_without_graphs_of_a_head_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no graphs of the head ar.*seqocr export"):
        run(folder, tmp_path / "out", head="ar")


@pytest.mark.parametrize("head", ["parallel", "ctc"])
def test_how_sure_symbols_are_is_what_the_library_says(head: str) -> None:
    """Exact decoding weighs all texts, which changes little where a line is read with confidence."""
    reader, quick = LineReader(None, head), load(None, head, "cpu")
    for path in EXAMPLES:
        image = Image.open(path).convert("L")
        (wanted,) = predict(quick, [image], ReadOptions(head, symbols=True))
        found = reader.read(image)
        if wanted.text == found.text and wanted.confidence > 0.9:
            confidences = [symbol.confidence for symbol in found.symbols]
            assert confidences == pytest.approx([each.confidence for each in wanted.symbols], abs=0.02)


def test_names_begin_where_the_pattern_does(folder: Path, tmp_path: Path) -> None:
    run(f"{folder.parent}/{folder.name}/*/[13].png", tmp_path / "out")
    assert [row["file_name"] for row in rows(tmp_path / "out")] == ["below/1.png", "below/3.png"]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(folder / "0.png")
    run(f"{tmp_path}/links/*", tmp_path / "linked")
    assert [row["problem"] for row in rows(tmp_path / "linked")] == [None]
    run(folder / "notes.txt", tmp_path / "one")
    (row,) = rows(tmp_path / "one")
    assert row["file_name"] == "notes.txt"
    assert "not an image" in row["problem"]
    (tmp_path / "odd[1]*").mkdir()
    (tmp_path / "odd[1]*" / "a.png").write_bytes(BROKEN)
    run(tmp_path / "odd[1]*", tmp_path / "odd")
    assert [row["file_name"] for row in rows(tmp_path / "odd")] == ["a.png"]


def test_what_is_read_of_a_line_does_not_depend_on_its_shard(folder: Path, tmp_path: Path) -> None:
    for size in (1, 3, 100):
        run(folder, tmp_path / str(size), size=size)
    one, three, all_of_it = (rows(tmp_path / str(size)) for size in (1, 3, 100))
    assert one == three == all_of_it
    assert len(list((tmp_path / "3").glob("part-*"))) == 4


def test_tar_files_as_webdataset_has_them(tmp_path: Path) -> None:
    png = EXAMPLES[1].read_bytes()
    tar_of(tmp_path / "b.tar", {"0/x.png": png, "0/x.json": b"{}", "0/y.png": BROKEN})
    tar_of(tmp_path / "a.tar.gz", {"1.png": png, "1.txt": b"7"})
    run(tmp_path, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["file_name"] for row in found] == ["a.tar.gz/1.png", "b.tar/0/x.png", "b.tar/0/y.png"]
    assert found[0]["text"] == found[1]["text"] != ""
    assert "b.tar/0/y.png" in found[2]["problem"]


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_a_tar_file_that_ends_early_says_so_after_what_it_has(tmp_path: Path, name: str) -> None:
    noise = [io.BytesIO() for _ in range(20)]  # does not get smaller
    for file in noise:
        Image.effect_noise((90, 30), 80).save(file, "PNG")
    path = tar_of(tmp_path / name, {f"{i}.png": file.getvalue() for i, file in enumerate(noise)})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6) + 100])
    run(path, tmp_path / "out")
    *good, last = rows(tmp_path / "out")
    assert 5 < len(good) < 15
    assert all(row["problem"] is None for row in good)
    assert f"{name} cannot be read beyond" in last["problem"]


@pytest.mark.parametrize("damage", ["cut between members", "cut in a header", "a broken header"])
def test_a_tar_file_whose_end_is_missing_says_so_though_tarfile_does_not(tmp_path: Path, damage: str) -> None:
    png = EXAMPLES[1].read_bytes()
    path = tar_of(tmp_path / "x.tar", {f"{i}.png": png for i in range(3)})
    with tarfile.open(path) as tar:
        third = tar.getmembers()[2].offset
    content = path.read_bytes()
    ends = {"cut between members": b"", "cut in a header": content[third:][:100], "a broken header": b"7" * 5120}
    path.write_bytes(content[:third] + ends[damage])
    run(path, tmp_path / "out")
    *good, last = rows(tmp_path / "out")
    assert [row["file_name"] for row in good] == ["x.tar/0.png", "x.tar/1.png"]
    assert all(row["problem"] is None for row in good)
    assert last["problem"] == "x.tar cannot be read beyond 1.png (its end is missing): write it again"


@pytest.mark.parametrize("layout", ["struct", "bytes"])
def test_parquet_with_image_bytes(tmp_path: Path, layout: str) -> None:
    data = [EXAMPLES[0].read_bytes(), BROKEN, None, EXAMPLES[2].read_bytes()]
    names = ["w.png", "x.png", "y.png", "z.png"]
    columns: dict[str, Any] = {"label": [1, 2, 3, 4]}
    if layout == "struct":  # Hugging Face's
        columns["image"] = [{"bytes": each, "path": name} for each, name in zip(data, names, strict=True)]
    else:
        columns |= {"png": pa.array(data, pa.binary()), "__key__": names}
    parquet.write_table(pa.table(columns), tmp_path / "lines.parquet")
    run(tmp_path / "lines.parquet", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["file_name"] for row in found] == names
    assert [row["problem"] is None for row in found] == [True, False, False, True]


def test_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["1"]}), tmp_path / "none.parquet")
    run(tmp_path / "none.parquet", tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert "none.parquet has 0 columns of bytes" in row["problem"]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    run(tmp_path / "broken.parquet", tmp_path / "other")
    (row,) = rows(tmp_path / "other")
    assert "broken.parquet cannot be read beyond row 0" in row["problem"]


def test_any_file_system_that_fsspec_knows(folder: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.png"):
        memory.pipe_file(f"/lines/{path.relative_to(folder)}", path.read_bytes())
    run("memory://lines", "memory://out")
    run(folder, tmp_path / "out")
    there = [parquet.read_table(io.BytesIO(memory.cat_file(n))).to_pylist() for n in sorted(memory.glob("/out/part-*"))]
    remote, local = [row for part in there for row in part], rows(tmp_path / "out")
    assert [{**row, "problem": None} for row in remote] == [{**row, "problem": None} for row in local]
    assert [bool(row["problem"]) for row in remote] == [bool(row["problem"]) for row in local]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "does not exist"),
        ("empty", "holds no images"),
        ("mixed", "name one kind"),
        ("mixed/*.xyz", "holds no images"),
        ("nosuch://bucket/lines", "cannot be reached"),
    ],
)
def test_sources_that_cannot_be_used(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.png").write_bytes(BROKEN)
    (tmp_path / "mixed" / "a.tar").write_bytes(b"")
    where = source if "://" in source else tmp_path / source
    with pytest.raises(InputError, match=said):
        run(where, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_without_permission(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\)"):
        run(folder, tmp_path / "out")


def test_what_was_finished_stays_and_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    def only_two(job: reading.Job, shards: list[Shard]) -> Any:
        yield from map(job, shards[:2])
        raise KeyboardInterrupt

    run(folder, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out", only_two)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert len(times) == 2
    summary = run(folder, tmp_path / "out")
    assert (summary.shards, summary.before, summary.lines) == (3, 2, 3)
    assert {n: (tmp_path / "out" / n).stat().st_mtime_ns for n in times} == times
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert run(folder, tmp_path / "out").lines == 0


def test_a_folder_of_another_run_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="other head, weights"):
        run(folder, tmp_path / "out", head="ctc")
    with pytest.raises(InputError, match="other shards"):
        run(folder, tmp_path / "out", size=5)
    (tmp_path / "out" / PLAN).unlink()
    with pytest.raises(InputError, match="something else"):
        run(folder, tmp_path / "out")


def test_a_worker_with_other_weights_or_versions_is_refused(folder: Path, tmp_path: Path) -> None:
    def elsewhere(job: reading.Job, shards: list[Shard]) -> Any:
        return map(reading.Job(**{**vars(job), "versions": {**job.versions, "onnxruntime": "0.1"}}), shards)

    with pytest.raises(InputError, match="install the same everywhere"):
        run(folder, tmp_path / "out", elsewhere)
    assert not list((tmp_path / "out").glob("part-*"))


def test_a_full_disk_is_said_and_what_was_written_stays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".parquet":
            written.append(path)
            if len(written) > 1:
                raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"(?s)No space left.*goes on from there"):
        run(folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.parquet")] == ["part-0000000.parquet"]


def test_a_file_system_that_stumbles_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    source, asked = Source("memory://stumbling"), []
    fs = source._at[0]
    fs.pipe_file("/stumbling/a.png", EXAMPLES[0].read_bytes())

    def cat(names: list[str]) -> list[Any]:
        asked.append(names)
        return [TimeoutError("slow") if len(asked) < lasting else EXAMPLES[0].read_bytes() for _ in names]

    monkeypatch.setattr(type(fs), "cat_ranges", lambda self, names, *_, on_error: cat(names))
    lasting = 3
    ((name, line),) = source.lines(source.shards(10)[0])
    assert (name, type(line)) == ("a.png", Image.Image)
    assert len(asked) == 3
    lasting = 100
    with pytest.raises(InputError, match=r"a.png cannot be read \(slow\)"):
        list(source.lines(source.shards(10)[0]))


def many_lines(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:04d}.png").write_bytes(EXAMPLES[i % len(EXAMPLES)].read_bytes())
    return folder


def test_processes_read_the_same_also_when_one_is_killed(tmp_path: Path) -> None:
    lines, marker = many_lines(tmp_path / "lines", 60), tmp_path / "killed"
    run(lines, tmp_path / "here", size=5)

    def deadly(job: reading.Job, shards: list[Shard]) -> Any:
        return engines.local(Deadly(**vars(job), marker=str(marker)), shards, workers=2)

    summary = run(lines, tmp_path / "out", deadly, size=5)
    assert marker.exists()
    assert rows(tmp_path / "out") == rows(tmp_path / "here")
    assert summary.shards == 12
    assert not [path for path in (tmp_path / "out").iterdir() if ".tmp" in path.name]


def test_what_a_killed_process_had_begun_to_write_is_gone_in_the_end(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".part-0000000.77.tmp.parquet").write_bytes(b"PAR1")
    run(folder, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_processes_that_are_killed_again_and_again_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = many_lines(tmp_path / "lines", 4)

    def killed(job: Any, shards: Any, workers: int) -> Any:
        raise engines.BrokenProcessPool
        yield

    monkeypatch.setattr(engines, "_by_pool", killed)
    with pytest.raises(InputError, match="killed 3 times"):
        run(lines, tmp_path / "out", engines.local)


def test_paths_mean_the_same_to_workers_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster's processes begin where Ray was started."""
    run(folder, tmp_path / "wanted")
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "lines").symlink_to(folder)
    (tmp_path / "mine" / "weights").symlink_to(graphs_path(None))

    def elsewhere(job: reading.Job, shards: list[Shard]) -> Any:
        for shard in shards:
            with contextlib.chdir(tmp_path / "theirs"):
                yield job(shard)

    monkeypatch.chdir(tmp_path / "mine")
    run("lines", "out", elsewhere, weights=Path("weights"))
    found, wanted = ([(row["file_name"], row["text"]) for row in rows(tmp_path / n)] for n in ("mine/out", "wanted"))
    assert found == wanted
    assert not list((tmp_path / "theirs").iterdir())


def test_what_workers_wrote_to_a_folder_of_their_own_is_missed(folder: Path, tmp_path: Path) -> None:
    def lost(job: reading.Job, shards: list[Shard]) -> Any:
        yield job(shards[0])
        yield from (reading.Outcome(shard.number, lines=4) for shard in shards[1:])

    with pytest.raises(InputError, match=r"2 of 3 files are not in .*give a place that all machines share"):
        run(folder, tmp_path / "out", lost)
    assert run(folder, tmp_path / "out").before == 1


def test_results_may_lie_below_the_source(folder: Path, tmp_path: Path) -> None:
    lines = many_lines(tmp_path / "lines", 6)
    run(lines, lines / "read")
    assert len(rows(lines / "read")) == 6
    (lines / "read" / "part-0000000.parquet").unlink()
    assert run(lines, lines / "read").lines == 4
    assert len(rows(lines / "read")) == 6


@pytest.mark.parametrize(("number", "stops"), [(errno.EACCES, True), (errno.EIO, True), (errno.ELOOP, False)])
def test_an_image_that_the_file_system_does_not_give_stops_and_is_none_of_the_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, stops: bool
) -> None:
    opened = Path.open

    def refuses(path: Path, *more: Any, **options: Any) -> Any:
        if path.name == "6.png":
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *more, **options)

    monkeypatch.setattr(Path, "open", refuses)
    if stops:
        with pytest.raises(InputError, match=r"6\.png cannot be read \(.*\): try again later"):
            run(folder, tmp_path / "out")
    else:
        run(folder, tmp_path / "out")
        assert [bool(row["problem"]) for row in rows(tmp_path / "out")].count(True) == 2
    monkeypatch.undo()
    run(folder, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 11


@pytest.mark.parametrize("names", [["scan1.png", "scan[1].png", "what?.png"], ["scan[1].png"]])
def test_names_that_look_like_patterns(tmp_path: Path, names: list[str]) -> None:
    store, folder = fsspec.filesystem("memory"), f"patterns-{len(names)}"
    for name, example in zip(names, EXAMPLES, strict=False):
        store.pipe_file(f"/{folder}/{name}", example.read_bytes())
        (tmp_path / name).write_bytes(example.read_bytes())
    run(f"memory://{folder}", tmp_path / "out")
    run(tmp_path / "*.png", tmp_path / "wanted")
    assert [row["file_name"] for row in rows(tmp_path / "out")] == names
    assert rows(tmp_path / "out") == rows(tmp_path / "wanted")


def test_a_link_in_a_tar_file_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(EXAMPLES[0], "0.png")
        for name, kind in (("1.png", tarfile.LNKTYPE), ("2.png", tarfile.SYMTYPE), ("3.txt", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "0.png"
            tar.addfile(member)
    run(path, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["problem"] for row in found] == [
        None,
        *(f"x.tar/{i}.png is a link to 0.png: give the image itself" for i in (1, 2)),
    ]


def test_a_broken_page_of_parquet_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"image": [each.read_bytes() for each in EXAMPLES]}), path)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)  # behind what says that it is Parquet, the head of the first page
    path.write_bytes(bytes(content))
    run(path, tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert row["problem"].startswith("x.parquet cannot be read beyond row 0 (")


def test_the_plan_is_json(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    plan = json.loads((tmp_path / "out" / PLAN).read_text())
    assert plan["kind"] == "images"
    assert sum(each["files"] for each in plan["shards"]) == 11
