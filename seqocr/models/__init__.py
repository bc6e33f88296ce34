"""Encoder, heads, and the recognizer that they make."""

from seqocr._torchvision import import_torchvision

import_torchvision()  # before transformers does
