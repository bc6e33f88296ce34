"""The exception for input that cannot be used, and the sentence for a package that is not installed."""

# Packages that reading exported graphs does not need, and the extras that they come with.
_EXTRAS = dict.fromkeys(
    ("torch", "torchvision", "transformers", "safetensors", "pandas", "scipy", "statsmodels", "rapidfuzz", "psutil"),
    "train",
)
_EXTRAS |= dict.fromkeys(("fastapi", "fastapi_offline", "prometheus_client", "uvicorn", "starlette"), "serve")
_EXTRAS |= dict.fromkeys(("fsspec", "grpc", "pyarrow", "ray", "simpy"), "scale")
_EXTRAS["gradio"] = "demo"


class InputError(ValueError):
    """Something given to seqocr cannot be used.

    The message names the file or value and says what to do. The command line prints it alone and exits with code 2.
    """


class MissingExtraError(InputError):
    """A package of an extra is not installed."""


class RankError(InputError):
    """An `InputError` of one of several processes that train together.

    Attributes:
        speaks: whether this process is the one that says it; what all meet is said once.
    """

    def __init__(self, message: str, speaks: bool) -> None:
        super().__init__(message)
        self.speaks = speaks


def check_bounds(name: str, number: float, least: float, most: float) -> None:
    """Raise an InputError if the number is NaN or out of bounds."""
    if not least <= number <= most:  # so, because NaN compares as neither
        raise InputError(f"{name} {number}: give a number from {least:,} to {most:,}")


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install where a package of an extra is not installed; None if it is of none."""
    name = str(error.name).split(".")[0]
    if name not in _EXTRAS:
        return None
    remedy = f"pip install 'seqocr[{_EXTRAS[name]}]'" + (", or add --no-page" if name == "gradio" else "")
    return f"{name} is not installed, which this needs: {remedy}"
