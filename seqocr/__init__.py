"""seqocr: autoregressive and parallel decoding heads for reading digit strings, on one TrOCR encoder."""

from importlib import import_module

from seqocr.version import __version__

# Imported on first use: some bring torch and transformers along, which takes seconds that `import seqocr` need not.
_MODULES = {
    "load": "seqocr.inference.load",
    "predict": "seqocr.inference.predict",
    "predict_files": "seqocr.inference.image_files",
    "Prediction": "seqocr.inference.prediction",
    "ReadOptions": "seqocr.inference.prediction",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'seqocr' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
