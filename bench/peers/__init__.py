"""The peers: readers that people would use instead; modules with a list PEERS, and entry points `seqocr.peers`."""

from collections.abc import Iterable

from bench.core.plugins import plugins
from bench.peers.base import PeerSpec


def peers() -> dict[str, PeerSpec]:
    """All peers by name, in their declared order: seqocr's heads first."""
    return plugins(__name__, __path__, "PEERS", "seqocr.peers", PeerSpec)


def unavailable(names: Iterable[str]) -> dict[str, str]:
    """Why each of these peers that is not available here is not, by name."""
    return {name: why for name in names if (why := peers()[name].missing())}
