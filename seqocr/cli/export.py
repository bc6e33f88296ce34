"""seqocr export"""

from typing import Annotated, Any

import typer

from seqocr.cli.options import Out, output_folder, parse_heads, parse_sources
from seqocr.errors import InputError

_LINES, _PHOTOGRAPHS = 300, 0.4  # of --glyphs, and the share of those by pen that are photographed


def export(
    out: Out,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Directory written by `seqocr train`, or shipped weights: tiny, strings, numbers.",
            show_default="numbers",
        ),
    ] = None,
    heads: Annotated[str | None, typer.Option(help="Heads, separated by commas.", show_default="all")] = None,
    runtime: Annotated[
        str, typer.Option(help="onnx, for ONNX Runtime and OpenVINO, or transformers, for Hugging Face (the ar head).")
    ] = "onnx",
    precision: Annotated[str, typer.Option(help="float32, or int8: static quantisation.")] = "float32",
    calibration: Annotated[
        str | None,
        typer.Option(
            help="For int8: a folder or pattern of line images, as many kinds as will be read; they need no labels.",
            show_default="synthetic lines",
        ),
    ] = None,
    glyphs: Annotated[
        str | None, typer.Option(help="For int8, in place of --calibration: lines of these sources too (see `train`).")
    ] = None,
) -> None:
    """Export for deployment without PyTorch; `read` and `eval` take ONNX graphs as --weights."""
    directory, names = output_folder(out), parse_heads(heads) if heads else None
    if runtime not in ("onnx", "transformers"):
        raise InputError(f"--runtime {runtime}: choose onnx or transformers")
    if runtime == "transformers" and precision != "float32":
        raise InputError("--runtime transformers is for float32: leave --precision out")
    if (calibration or glyphs) and precision != "int8":
        raise InputError("--calibration and --glyphs are for --precision int8: add that, or leave them out")
    if calibration and glyphs:
        raise InputError("--calibration beside --glyphs: give one of both")

    from seqocr.files import shown, writable
    from seqocr.inference.export import export as write
    from seqocr.inference.ranges import open_lines, synthetic_lines
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer
    from seqocr.models.hugging_face import export_hugging_face

    writable(directory)
    recognizer = load_recognizer(weights_path(weights))
    if runtime == "transformers":
        export_hugging_face(recognizer.with_heads(names) if names else recognizer, directory)
        print(f"{shown(directory)}: VisionEncoderDecoderModel with a TrOCRProcessor")
        return
    lines: list[Any] | None = None if calibration is None else open_lines(calibration)
    if glyphs is not None:
        from seqocr.train.recipe import held_out_lines

        length = 1, min(recognizer.max_length, 10)
        held_out = held_out_lines(parse_sources(glyphs), _LINES, length, _PHOTOGRAPHS)
        lines = [*synthetic_lines(recognizer.max_length), *held_out.batch(range(len(held_out)))[0]]
    for path in write(recognizer, directory, names, precision, lines):
        print(f"{shown(path)}: {path.stat().st_size / 1e6:.1f} MB")
