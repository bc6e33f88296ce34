"""Digits as pen strokes: read from files, split by writer, drawn with a pen."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqocr.data.sources.strokes import POINTS, load_strokes, resample, split_of
from seqocr.data.synthetic.pen import (
    BENDS,
    Transform,
    TransformedStrokes,
    draw_discs,
    transform_bitmaps,
    transform_strokes,
)
from seqocr.errors import InputError


def written(path: Path, writers: int = 60, each: int = 10) -> Path:
    """A file of digits whose strokes are as many degrees of an arc as the label asks for."""
    rows = []
    for writer in range(writers):
        for label in range(each):
            angles = np.linspace(0, 0.5 + label / 2, 30)
            arc = np.stack([np.cos(angles) * 500, np.sin(angles) * 500 * (1 + writer % 3)], 1)
            rows.append({"label": str(label % 10), "sheet": writer, "source": "made", "strokes": [arc.tolist()]})
    text = "\n".join(map(json.dumps, rows))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["digits.jsonl", "digits.jsonl.gz"])
def test_every_digit_is_in_one_split_and_no_writer_in_two(tmp_path, name):
    path = written(tmp_path / name)
    splits = {split: load_strokes(path, split) for split in ("train", "validation", "test")}
    assert sum(len(part) for part in splits.values()) == 600
    assert all(len(part.writers.unique()) * 10 == len(part) for part in splits.values())
    assert len(splits["train"]) > 300
    for split, part in splits.items():
        assert part.trajectories.shape == (len(part), POINTS, 3)
        assert (part.split, part.trajectories.dtype, part.labels[:10].tolist()) == (
            split,
            torch.float32,
            list(range(10)),
        )
    assert sorted(split for writer in range(60) for split in [split_of(str(writer))]).count("train") == sum(
        len(part.writers.unique()) for name, part in splits.items() if name == "train"
    )


def test_a_track_is_centred_as_large_as_one_and_evenly_spaced():
    trajectory = resample([[[0, 0], [0, 100], [0, 400]], [[200, 100], [240, 100]]])
    low, high = trajectory[:, :2].min(0), trajectory[:, :2].max(0)
    assert (low + high) == pytest.approx([0, 0], abs=1e-6)
    assert (high - low).max() == pytest.approx(1)
    steps = np.hypot(*np.diff(trajectory[:, :2], axis=0).T)
    lifted = steps.argmax()  # from the first stroke to the second
    assert np.delete(steps, lifted) == pytest.approx(np.median(steps), rel=0.3)
    assert (trajectory[:, 2] > 0).all()


def test_where_points_lie_far_apart_the_pen_was_fast():
    trajectory = resample([[[0, 10 * t if t < 10 else 100 + 60 * (t - 10)] for t in range(20)]])
    slow, fast = trajectory[trajectory[:, 1] < -0.4, 2], trajectory[trajectory[:, 1] > 0.2, 2]
    assert slow.max() < fast.min()


def test_a_dot_is_a_track():
    assert np.isfinite(resample([[[5, 5]]])).all()
    assert np.isfinite(resample([[[5, 5], [5, 5]], [[0, 0], [0, 90]]])).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"label": "A"}, "line 3, is no digit .label 'A'"),
        (lambda row: row | {"strokes": []}, "no strokes"),
        (lambda row: row | {"strokes": [[[1, 2], [3]]]}, "line 3, is no digit"),
        (lambda row: row | {"strokes": [[[1, 2, 3]]]}, "a stroke is a list of"),
        (lambda row: row | {"strokes": [[[1, float("nan")]]]}, "a stroke is a list of"),
        (lambda row: {k: v for k, v in row.items() if k != "sheet"}, "no writer"),
        (lambda row: [1, 2], "line 3, is no digit"),
    ],
)
def test_a_line_that_is_no_digit_is_named(tmp_path, change: Callable[[dict[str, Any]], Any], said):
    path = written(tmp_path / "digits.jsonl")
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(change(json.loads(lines[2])))
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=said):
        load_strokes(path, "train")


def test_files_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_strokes(tmp_path / "missing.jsonl", "train")
    (tmp_path / "cut.jsonl.gz").write_bytes(written(tmp_path / "whole.jsonl.gz").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"cut.jsonl.gz cannot be read .* give it whole"):
        load_strokes(tmp_path / "cut.jsonl.gz", "train")
    (tmp_path / "digits.txt").write_text("")
    with pytest.raises(InputError, match="no file of strokes"):
        load_strokes(tmp_path / "digits.txt", "train")
    with pytest.raises(InputError, match="no writer in the split"):
        load_strokes(written(tmp_path / "few.jsonl", writers=1), "test" if split_of("0") != "test" else "train")


def make_transform(count: int, **changes: Any) -> Transform:
    fields = {"height": 20, "stretch": 1, "slant": 0, "turn": 0, "radius": 1.5, "flow": 0, "nib": 0, "angle": 0}
    values = {name: torch.full((count,), float(value)) for name, value in (fields | changes).items()}
    return Transform(**values, bend=torch.zeros(count, 2, BENDS, BENDS))


def straight(x0: float, y0: float, x1: float, y1: float) -> torch.Tensor:
    t = torch.linspace(0, 1, POINTS)[:, None]
    points = torch.tensor([x0, y0]) * (1 - t) + torch.tensor([x1, y1]) * t
    return torch.cat([points, torch.ones(POINTS, 1)], 1)[None]


def test_a_pose_sizes_stretches_slants_and_turns():
    upright = straight(0, -0.5, 0, 0.5)
    assert transform_strokes(upright, make_transform(1)).bounds[0].tolist() == pytest.approx([-1.5, -11.5, 1.5, 11.5])
    assert transform_strokes(upright, make_transform(1, height=30)).bounds[0, 3] == pytest.approx(16.5)
    slanted = transform_strokes(upright, make_transform(1, slant=0.5))
    assert slanted.ends[0].flatten().tolist() == pytest.approx([5, -10, -5, 10])  # it leans to the right
    flat = straight(-0.5, 0, 0.5, 0)
    assert transform_strokes(flat, make_transform(1, stretch=1.5)).bounds[0, 2] == pytest.approx(16.5)
    assert transform_strokes(flat, make_transform(1, turn=np.pi / 2)).bounds[0, 3] == pytest.approx(11.5)


def test_the_pen_is_thinner_where_it_is_fast_and_thicker_along_its_nib():
    trajectory = straight(0, -0.5, 0, 0.5)
    trajectory[0, POINTS // 2 :, 2] = 2.0
    radius = transform_strokes(trajectory, make_transform(1, flow=0.5)).radius[0]
    assert radius[0] == pytest.approx(1.5)
    assert radius[-1] == pytest.approx(0.75)
    down, across = straight(0, -0.5, 0, 0.5), straight(-0.5, 0, 0.5, 0)
    nib = transform_strokes(torch.cat([down, across]), make_transform(2, nib=0.2, angle=np.pi / 2)).radius.mean(1)
    assert nib.tolist() == pytest.approx([1.8, 1.2])


def test_ink_is_within_the_radius_and_nowhere_else():
    canvas = torch.zeros(2, 40, 50)
    points, radius = torch.tensor([[[20.0, 15.0], [20.0, 15.3]]]), torch.full((1, 2), 3.0)
    draw_discs(canvas, torch.tensor([1]), points, radius)
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(50) + 0.5, indexing="ij")
    distance = torch.minimum((x - 20).hypot(y - 15), (x - 20).hypot(y - 15.3))
    assert torch.allclose(canvas[1], (3.5 - distance).clamp(0, 1), atol=0.35)  # near points are left out
    assert canvas[0].sum() == 0
    assert canvas[1, 15, 20] == 1


def test_what_is_off_the_canvas_is_lost_and_does_not_come_back_elsewhere():
    canvas = torch.zeros(3, 20, 30)
    for place in ([-8.0, 10.0], [40.0, 10.0], [10.0, -9.0], [10.0, 33.0]):
        draw_discs(canvas, torch.tensor([1]), torch.tensor([[place, place]]), torch.full((1, 2), 2.0))
    assert canvas.sum() == 0
    draw_discs(canvas, torch.tensor([1]), torch.tensor([[[0.0, 10.0]] * 2]), torch.full((1, 2), 2.0))
    assert canvas[1].sum() > 0
    assert canvas[[0, 2]].sum() == 0
    assert canvas[1, :, 4:].sum() == 0


def test_a_bitmap_is_transformed_as_strokes_are():
    """A bar of MNIST's size, and the same as a stroke."""
    bar = torch.zeros(1, 28, 28)
    bar[0, 4:24, 13:15] = 1
    for changes in ({}, {"height": 36}, {"slant": 0.4}, {"turn": 0.3}, {"height": 30, "radius": 3.0}):
        ours = transform_bitmaps(bar, make_transform(1, **({"radius": 1.25} | changes))).bounds[0]
        theirs = transform_strokes(straight(0, -0.5, 0, 0.5), make_transform(1, **({"radius": 1.25} | changes))).bounds[
            0
        ]
        assert (ours - theirs).abs().max() <= 2.6, changes


def test_a_thicker_pen_leaves_more_ink_of_a_bitmap():
    bar = torch.zeros(1, 28, 28)
    bar[0, 4:24, 13:15] = 1
    ink = [float(transform_bitmaps(bar, make_transform(1, height=30, radius=r)).boxes.sum()) for r in (0.8, 1.8, 2.8)]
    assert ink == sorted(ink)
    assert ink[0] > 20


def test_both_kinds_of_glyphs_put_themselves_on_a_canvas():
    bar = torch.zeros(1, 28, 28)
    bar[0, 4:24, 13:15] = 1
    for glyph in (
        transform_bitmaps(bar, make_transform(1)),
        transform_strokes(straight(0, -0.5, 0, 0.5), make_transform(1)),
    ):
        canvas = torch.zeros(2, 60, 60)
        glyph.draw(canvas, torch.tensor([1]), torch.tensor([[30.0, 25.0]]))
        ys, xs = (canvas[1] > 0.5).nonzero().T
        assert (int(xs.min()) + int(xs.max())) / 2 == pytest.approx(29.5, abs=1)
        assert (int(ys.min()) + int(ys.max())) / 2 == pytest.approx(24.5, abs=1)
        assert canvas[0].sum() == 0
        assert glyph.ends.shape == (1, 2, 2)
        assert float(glyph.peak[0, 1]) < -8
    assert (
        TransformedStrokes(torch.zeros(0, 4, 2), torch.zeros(0, 4)).draw(
            canvas, torch.zeros(0).long(), torch.zeros(0, 2)
        )
        is None
    )
