"""The benchmark harness: plan -> measure -> store -> statistics -> plots -> report."""

import os

# torch's profiler, which counts memory, else prints two lines a use. It reads this once, when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

import seqocr  # noqa: F401  (first of what imports torch: it makes torchvision importable)
