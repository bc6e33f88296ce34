"""From a directory of weights or graphs to predictions."""
