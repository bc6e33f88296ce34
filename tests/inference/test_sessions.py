"""How many cores are used: by affinity, on systems that have none, and under a container's quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from seqocr.inference import sessions
from seqocr.inference.sessions import core_count, cpu_quota


def test_cores_are_counted_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    assert core_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    assert core_count() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert core_count() == 1
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    assert core_count() == 5
    for quota, cores in ((2.5, 3), (0.1, 1), (64, 5)):
        monkeypatch.setattr(sessions, "cpu_quota", lambda quota=quota: quota)
        assert core_count() == cores


@pytest.mark.parametrize(
    ("listing", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 50000"}, 4),
        ("0::/not/here\n", {"cpu.max": "100000 100000"}, 1),
        ("3:memory:/x\n5:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n",
                                            "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "nonsense"}, math.inf),
        (None, {}, math.inf),
    ],
)  # fmt: skip
def test_the_quota_of_a_container(tmp_path: Path, listing: str | None, files: dict[str, str], quota: float) -> None:
    if listing is not None:
        (tmp_path / "listing").write_text(listing)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu_quota(tmp_path / "listing", tmp_path) == quota
