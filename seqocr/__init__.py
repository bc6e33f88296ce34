"""seqocr: autoregressive and parallel decoding heads for reading digit strings, on one TrOCR encoder."""

from seqocr.version import __version__

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    # Loaded on first use: it brings torch and transformers along, which takes seconds that `import seqocr` need not.
    if name == "load":
        from seqocr.inference.load import load

        return load
    raise AttributeError(f"module 'seqocr' has no attribute {name!r}")
