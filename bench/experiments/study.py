"""The study of `bench.study`, as an experiment of the report."""

from __future__ import annotations

from bench.study import EXPERIMENT as EXPERIMENT
