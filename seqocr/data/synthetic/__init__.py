"""Synthetic lines: layouts, pens, paper, writer styles, damage, label distributions."""
