"""Digits spaced, sized and slanted as people write them, on clean paper."""

from seqocr.data.levels.layout import Layout

LAYOUT = Layout()
