"""What stands between or behind digits and is none: separators of thousands, full stops, dashes, flourishes."""

import math

import torch

_POINTS = 64


def sample_marks(is_ending: torch.Tensor, digit: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
    """Kinds of M marks, (M,) int64.

    Args:
        is_ending: (M,) bool: behind the last digit. Endings are of many kinds, the first ones more often. Elsewhere a
            writer has one separator: mostly a full stop, sometimes a comma, seldom a dash.
        digit, line: (M,) uniform in [0, 1), which choose the ending and the separator.
    """
    endings, separators = len(_MARKS) * digit.square(), (line > 0.75).long() + (line > 0.95).long()
    return torch.where(is_ending, endings.long(), separators)


def scale_marks(kind: torch.Tensor, shape: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of M marks in pixels around their origins, (M, points, 2), and how far these are above the baseline, (M,).

    Args:
        kind: (M,) int64; shape: (M,) in [0, 1), how large the mark is; size: (M,) of the line's digits, pixels.
    """
    points = _MARKS[kind] * (size * (0.7 + 0.6 * shape))[:, None, None]
    points = torch.stack([points[..., 0], -points[..., 1]], 2)
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    middle = (low + high) / 2
    return points - middle, -middle[:, 0, 1]


# Marks as points (x, y up from the baseline), of the digits' size; pen lifts are left out, as overlapping points.
def _line(*points: tuple[float, float]) -> torch.Tensor:
    """A polyline through points, evenly sampled, (_POINTS, 2)."""
    corners = torch.tensor(points)
    steps = (corners[1:] - corners[:-1]).norm(dim=1)
    along = torch.cat([torch.zeros(1), steps.cumsum(0)])
    at = torch.linspace(0, float(along[-1]), _POINTS)
    i = torch.searchsorted(along, at).clamp(1, len(along) - 1)
    share = ((at - along[i - 1]) / steps[i - 1].clamp(min=1e-6))[:, None]
    return torch.lerp(corners[i - 1], corners[i], share)


def _pieces(*pieces: torch.Tensor) -> torch.Tensor:
    """Several polylines as one mark, (_POINTS, 2)."""
    each = _POINTS // len(pieces)
    parts = [piece[torch.linspace(0, _POINTS - 1, each).round().long()] for piece in pieces]
    return torch.cat([*parts, parts[-1][-1:].expand(_POINTS - each * len(pieces), 2)])


_CIRCLE = [(0.12 * math.cos(a / 8 * math.pi), 0.12 * math.sin(a / 8 * math.pi)) for a in range(17)]
_STOP = _line((0.0, 0.0), (0.02, 0.0))
_DASH = _line((0.0, 0.3), (0.45, 0.34))
# What can end an amount. The first three, a full stop, a comma and a dash, also set digits apart.
_MARKS = torch.stack(
    [
        _STOP,
        _line((0.04, 0.05), (0.0, -0.18)),
        _DASH,
        _line((0.0, 0.3), (0.5, 0.36), (1.3, 0.3)),
        _pieces(_line((0.0, 0.22), (0.5, 0.26)), _line((0.02, 0.42), (0.5, 0.46))),
        _pieces(_STOP, _line((0.2, 0.1), (0.55, 0.14))),
        _line((0.0, 0.3), (0.15, 0.42), (0.35, 0.24), (0.6, 0.4)),
        _pieces(_line((0.0, 0.45), (0.7, 0.5)), _line((0.22, 0.15), (0.32, 0.8)), _line((0.42, 0.15), (0.52, 0.8))),
        _line(*[(x, 0.7 + y) for x, y in _CIRCLE]),
        _pieces(*(_line(*[(shift + x, 0.75 + y) for x, y in _CIRCLE]) for shift in (0.0, 0.3))),
        _pieces(_line((0.05, 0.05), (0.0, -0.15)), _line((0.2, 0.15), (0.6, 0.2))),
        _line((0.0, 0.05), (0.35, 0.0), (0.9, 0.1)),
    ]
)
