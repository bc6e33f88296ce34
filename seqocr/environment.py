"""The environment of a result: machine, versions and commit. Recorded with every result."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pandas", "scipy", "onnxruntime", "openvino")


def describe() -> dict[str, Any]:
    """Processor, memory, threads, versions and commit, as JSON-ready values."""
    return {
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "commit": commit(),
    }


def cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware; otherwise that is emulated."""
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in known)


def bfloat16_is_faster(device: torch.device) -> bool:
    """On GPUs, and on CPUs with matrix tiles for it (AMX); elsewhere it is emulated or gains nothing."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def commit() -> str | None:
    """The commit of the source tree ($SEQOCR_COMMIT where there is no git), "+" if the tree differs from it."""
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", "*.py") else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("SEQOCR_COMMIT") or None


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
