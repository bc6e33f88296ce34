"""Amounts as people write them on cheques: in one hand a line, slanted, touching, on printed paper."""

from seqocr.data.synthetic.writer_style import WriterStyle

LAYOUT = WriterStyle()
