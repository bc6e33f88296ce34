"""Read the line images of a folder one by one, and print the seconds of each as JSON.

Run by its path, `python read_one_by_one.py graphs|rapidocr FOLDER [DIRECTORY HEAD]`, so that nothing else of the bench
is loaded. With `--first` it prints the text of the first line alone, as a command would.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def rapidocr() -> Callable[[Path], str]:
    """RapidOCR's recognition alone."""
    import numpy as np
    from PIL import Image
    from rapidocr_onnxruntime import RapidOCR

    recognise = RapidOCR().text_rec
    return lambda path: str(recognise([np.asarray(Image.open(path).convert("RGB"))])[0][0][0])


def graphs(directory: str, head: str) -> Callable[[Path], str]:
    from seqocr.data.images import open_line
    from seqocr.inference.onnx import OnnxRecognizer

    reader = OnnxRecognizer(Path(directory))
    return lambda path: str(reader.decode([open_line(path)], head).texts[0])


def main() -> None:
    first, (kind, folder, *more) = "--first" in sys.argv, [word for word in sys.argv[1:] if word != "--first"]
    read = graphs(*more) if kind == "graphs" else rapidocr()
    paths = sorted(Path(folder).iterdir())
    if first:
        print(read(paths[0]), flush=True)
        return
    read(paths[0])
    seconds = []
    for path in paths:
        start = time.perf_counter()
        read(path)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
