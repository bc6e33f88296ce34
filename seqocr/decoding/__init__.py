"""Decoding without torch: automata, constraints, search over lattices, calibration."""
