"""From digits, or custom data, to what becomes a batch."""

from seqocr._torchvision import watch

watch()  # before anything here imports torchvision
