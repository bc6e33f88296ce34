"""Numeric captchas."""
