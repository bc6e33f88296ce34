"""Exported graphs loaded into ONNX Runtime or OpenVINO, without torch."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.inference.graph_file import check_tensors
from seqocr.inference.manifest import AGAIN
from seqocr.inference.signature import Port, Signature

ENGINES = ("onnxruntime", "openvino")
DEFAULT_ENGINE = "onnxruntime"
_LINES = 16  # that one thread decodes at once: their activations stay in a core's cache
_T = TypeVar("_T")


class Session(Protocol):
    """A loaded graph. Values are in the engine's own form; outputs of one call are inputs of another without a copy."""

    inputs: list[str]

    def __call__(self, values: dict[str, Any]) -> list[Any]: ...

    def value(self, array: np.ndarray) -> Any: ...

    def array(self, value: Any) -> np.ndarray: ...


class LoadedGraph(Session, Protocol):
    """A session of a file, which says what it takes and gives."""

    signature: Signature


class OnnxRuntimeSession:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # A reader has several sessions, each with threads of its own: spinning while idle, they would take the cores
        # from the one at work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.signature = Signature(
            *(tuple(map(_port_of_onnx, ports)) for ports in (self._session.get_inputs(), self._session.get_outputs()))
        )
        self.inputs = [port.name for port in self.signature.inputs]
        self._outputs, self._path = [port.name for port in self.signature.outputs], path

    def __call__(self, values: dict[str, Any]) -> list[Any]:
        try:
            return list(self._session.run_with_ort_values(self._outputs, values))
        except Exception as error:  # its own kinds, of a graph that contradicts itself
            raise InputError(f"{shown(self._path)} cannot be run ({_first_line(error)}): {AGAIN}") from error

    def value(self, array: np.ndarray) -> Any:
        return self._value(np.ascontiguousarray(array))

    def array(self, value: Any) -> np.ndarray:
        return np.asarray(value.numpy())


class OpenVinoSession:
    # Every request made is kept for good. OpenVINO (2025.4, 2026.4) beside PyTorch corrupts memory when the last
    # reference to one goes: a Python thread that is started later, as DataLoader's, dies of a segmentation fault.
    _kept: ClassVar[list[Any]] = []

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.compile_model(path, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})
        self._request = compiled.create_infer_request()
        self._kept.append(self._request)
        self.signature = Signature(
            *(tuple(map(_port_of_openvino, ports)) for ports in (compiled.inputs, compiled.outputs))
        )
        self.inputs = [port.name for port in self.signature.inputs]

    def __call__(self, values: dict[str, Any]) -> list[Any]:
        # Copied out: the request's own memory is written again by its next run, which may read these.
        return [x.copy() for x in self._request.infer(values, share_inputs=True, share_outputs=True).values()]

    def value(self, array: np.ndarray) -> Any:
        return np.asarray(array, order="C")  # `ascontiguousarray` gives a scalar a dimension

    def array(self, value: Any) -> np.ndarray:
        return np.asarray(value)


def load_session(path: Path, engine: str = "onnxruntime", threads: int = 1) -> LoadedGraph:
    """Load a graph into an engine; InputError if the engine is not installed, or the file is missing or cannot be
    used."""
    make = session_class(engine)
    if not path.is_file():
        raise InputError(f"{shown(path)} is missing: {AGAIN}")
    try:
        check_tensors(path.read_bytes())
        session: LoadedGraph = make(path, threads)
    except Exception as error:  # each engine has its own kinds
        raise InputError(f"{shown(path)} cannot be used ({_first_line(error)}): {AGAIN}") from error
    return session


def check_engine(engine: str) -> None:
    """Raise an InputError if an engine is unknown, or not installed; the default one may be missing where PyTorch reads
    weights."""
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    if engine != DEFAULT_ENGINE:
        session_class(engine)


def _first_line(error: Exception) -> str:
    return shown((str(error).splitlines() or [type(error).__name__])[0])


def _port_of_onnx(port: Any) -> Port:
    dtypes = {"float": "float32", "double": "float64"}
    dtype = port.type.removeprefix("tensor(").removesuffix(")")
    return Port(port.name, dtypes.get(dtype, dtype), tuple(n if isinstance(n, int) else None for n in port.shape))


def _port_of_openvino(port: Any) -> Port:
    dtypes = {"f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "boolean": "bool"}
    name = port.any_name if port.names else ""
    dtype, shape = port.element_type.get_type_name(), port.partial_shape
    sizes = tuple(n.get_length() if n.is_static else None for n in shape)
    return Port(name, dtypes.get(dtype, dtype), sizes)


def session_class(engine: str) -> Any:
    """The class of its sessions; InputError if the engine is unknown or not installed."""
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    try:
        __import__(engine)
    except ImportError as error:
        extra = "onnx" if engine == "onnxruntime" else engine
        raise InputError(f"{engine} is not installed: pip install 'seqocr[{extra}]'") from error
    return OnnxRuntimeSession if engine == "onnxruntime" else OpenVinoSession


class BatchThreads:
    """Threads that work on parts of a batch side by side.

    An engine parallelizes each operation by itself, after which its threads wait for each other.

    Args:
        engine: OpenVINO's requests cannot run side by side, so its batches stay whole.

    Attributes:
        divides: whether batches are divided. One thread divides them too: int8 graphs of earlier versions round by all
            lines that they are given at once, and large batches are to give the same on any number of threads.
    """

    def __init__(self, threads: int, engine: str = "onnxruntime") -> None:
        self.threads, self.divides = threads, engine == "onnxruntime"

    def map(self, work: Callable[[Any, int], _T], lines: Sequence[Any] | np.ndarray) -> list[_T]:
        """The results of `work` on all lines with all threads, or, of many lines, on parts with one thread each.

        Args:
            work: of (some lines, threads).
        """
        if not self.divides or len(lines) < 2 * self.threads:
            return [work(lines, self.threads)]
        size = min(_LINES, math.ceil(len(lines) / self.threads))
        parts = [lines[start : start + size] for start in range(0, len(lines), size)]
        if self.threads == 1:
            return [work(part, 1) for part in parts]
        return list(self._pool.map(lambda part: work(part, 1), parts))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="lines")


def core_count() -> int:
    """Processor cores that this process may use: by affinity, where the system has it, and by its container's quota."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        cores = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count()
    return max(1, math.ceil(min(cores or 1, cpu_quota())))


def cpu_quota(listing: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores' worth of time that Linux's control groups, version 1 or 2, grant this process; infinite without a limit.

    Args:
        listing: the process's groups, a line "number:controllers:path" each; root: where they are mounted.
    """
    quota = math.inf
    with suppress(OSError):
        for line in listing.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = root / controllers  # of version 2, which has no controllers: the root
            group = mount / path.lstrip("/")  # in a container perhaps the host's name for it, which is not there
            for folder in (group, *group.parents):
                quota = min(quota, _granted(folder))
                if folder == mount:
                    break
    return quota


def _granted(group: Path) -> float:
    """The quota of one control group."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # not there; "max" and -1 stand for no limit
            quota, period = " ".join((group / name).read_text() for name in files).split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return math.inf
