"""From digits, or lines of one's own, to what becomes a batch."""

from seqocr._torchvision import watch

watch()  # before anything here imports torchvision
