"""The benchmark harness: plan -> measure -> store -> statistics -> plots -> report."""

import seqocr  # noqa: F401  (first: it makes torchvision importable)
