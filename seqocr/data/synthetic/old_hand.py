"""The writers of registers of the 19th century, as a style."""

from seqocr.data.synthetic.writer_style import WriterStyle

# A slanted hand with a pointed pen: strokes down the page are thick. The paper is ruled, shaded and has no pattern.
OLD_HAND = WriterStyle(
    shade=(0.5, 0.95),
    ink=(0.35, 0.92),
    gradient=0.2,
    texture=0.06,
    rule=0.7,
    noise=0.04,
    size=(16, 42),
    stretch=(0.65, 1.25),
    slant=(0.1, 0.95),
    pen=(0.018, 0.06),
    flow=0.6,
    nib=0.75,
    nib_angle=(0.35, 0.75),
    gap=(-0.2, 0.15),
    ones=1.25,
    flagged=0.3,
    joined=0.45,
    grouped=0.1,
    ended=0.2,
    margin=(-0.02, 0.35),
    headroom=(-0.03, 0.35),
)
