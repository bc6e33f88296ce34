"""The study of `bench.study`, as an experiment of the report."""

from bench.study import EXPERIMENT as EXPERIMENT
