"""Digits side by side in their cells, untouched: no layout at all."""

LAYOUT = None
