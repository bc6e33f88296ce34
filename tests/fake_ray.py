"""As much of Ray as `bench.core.ray_engine` uses, in this process: a task has run when it is submitted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from types import ModuleType
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class NodeAffinitySchedulingStrategy:
    def __init__(self, node_id: str, soft: bool) -> None:
        self.node_id = node_id


class Ref:
    """Of what a task gave."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._done: Future[Any] = Future()
        try:
            self._done.set_result(work())
        except RayError as error:
            self._done.set_exception(error)
        except Exception as error:
            # As Ray has it: an error of both kinds.
            both = type("RayTaskErrorOf", (RayTaskError, type(error)), {})
            self._done.set_exception(both(str(error)))

    def future(self) -> Future[Any]:
        return self._done


class Task:
    def __init__(self, cluster: Fake, work: Callable[..., Any], node: str | None = None) -> None:
        self._cluster, self._work, self._node = cluster, work, node

    def options(self, scheduling_strategy: NodeAffinitySchedulingStrategy) -> Task:
        return Task(self._cluster, self._work, scheduling_strategy.node_id)

    def remote(self, *arguments: Any) -> Ref:
        self._cluster.at = self._node
        return Ref(lambda: self._work(*arguments))


class Fake(ModuleType):
    """The module `ray`, of a cluster of machines.

    Attributes:
        machines: name and cores of each.
        at: the machine that the last task was bound to.
        given: what `init` was given.
    """

    def __init__(self) -> None:
        super().__init__("ray")
        self.machines = {"one": 2.0, "two": 1.0}
        self.at: str | None = None
        self.given: dict[str, Any] = {}
        self.is_on = False
        self.exceptions = _module("ray.exceptions", RayError=RayError, RayTaskError=RayTaskError)
        self.util = _module("ray.util")
        self.strategies = _module(
            "ray.util.scheduling_strategies", NodeAffinitySchedulingStrategy=NodeAffinitySchedulingStrategy
        )

    def installed(self) -> dict[str, ModuleType]:
        """To stand in `sys.modules`."""
        return {each.__name__: each for each in (self, self.exceptions, self.util, self.strategies)}

    def init(self, address: str, **more: Any) -> None:
        self.given, self.is_on, self.at = {"address": address, **more}, True, None

    def shutdown(self) -> None:
        self.is_on = False

    def is_initialized(self) -> bool:
        return self.is_on

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                **{"NodeID": name, "Alive": True, "Resources": {"CPU": cores}},
                **{"NodeManagerHostname": name, "NodeManagerAddress": "127.0.0.1"},
            }
            for name, cores in self.machines.items()
        ]

    def remote(self, **_: Any) -> Callable[[Callable[..., Any]], Task]:
        return lambda work: Task(self, work)

    def get(self, ref: Ref, timeout: float) -> Any:
        return ref.future().result(timeout)

    def wait(self, refs: list[Ref], **_: Any) -> tuple[list[Ref], list[Ref]]:
        return refs, []


def _module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made


def forget() -> None:
    """What was imported with a Ray that is no longer there."""
    import bench.core

    sys.modules.pop("bench.core.ray_engine", None)
    if hasattr(bench.core, "ray_engine"):
        del bench.core.ray_engine
