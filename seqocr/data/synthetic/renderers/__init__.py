"""Renderers: what numbers are shown on, other than by pen on paper; colour images of one line each."""
