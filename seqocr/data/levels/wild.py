"""Handwriting on paper as it comes: touching, slanted, crossed out by rules, photographed."""

from seqocr.data.levels.layout import Layout

LAYOUT = Layout(
    height=48,
    margin=(0, 20),
    gap=(-5, 10),
    gap_change=3,
    size=(0.8, 1.7),
    size_change=0.25,
    stretch=(0.85, 1.4),
    slant=0.6,
    slant_change=0.15,
    thickness=0.8,
    thickness_change=0.2,
    crisp=0.25,
    crossed=0.4,
    flagged=0.4,
    rise=8,
    wander=3,
    mark=0.15,
    end=0.4,
    paper=(0.45, 1.0),
    ink=(0.4, 0.95),
    gradient=0.15,
    texture=0.2,
    rule=0.4,
    noise=0.04,
    blur=1.0,
    jpeg=(30, 95),
    invert=0.1,
)
