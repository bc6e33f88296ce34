"""Encoder, heads, and the recognizer that they make."""

from seqocr._torchvision import watch

watch()  # before transformers imports torchvision
