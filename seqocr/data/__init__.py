"""From digits, or lines of one's own, to what becomes a batch."""

from seqocr._torchvision import import_torchvision

import_torchvision()  # before anything here imports it
