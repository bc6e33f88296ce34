"""seqocr push"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from seqocr.files import shown

_CARD = """---
{metadata}
---

# {name}

Reads line images of 1 to {max_length} of the symbols `{charset}`. Heads: {heads}.

```python
import seqocr  # pip install 'seqocr[hub]'

reader = seqocr.load("{name}")
print(seqocr.predict(reader, "line.png").text)
```

Trained with:

{runs}
"""


def push(
    directory: Annotated[str, typer.Argument(help="Written by `seqocr train` or `seqocr export`.")],
    name: Annotated[str, typer.Argument(help="USER/NAME on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="If it is new, show it to nobody else.")] = False,
    license_: Annotated[str | None, typer.Option("--license", help="For the model card, such as mit.")] = None,
) -> None:
    """Publish a recognizer on the Hugging Face hub: weights or graphs, config.json and a model card.

    Graphs in the folder `onnx` of weights go along, and are then read without PyTorch. A README.md there is the model
    card; without one, a short card is made of config.json. Log in with `hf auth login`, or set HF_TOKEN.
    """
    from seqocr.files import read_json
    from seqocr.hub import publish
    from seqocr.inference.load import load_directory
    from seqocr.inference.shipped import weights_path

    folder = weights_path(directory)
    load_directory(folder)  # what is broken is said before it is published
    if (folder / "onnx").is_dir():
        load_directory(folder / "onnx")
    config = read_json(folder / "config.json")
    print(f"{shown(directory)}: {publish(folder, name, model_card(name, config, license_), private)}")


def model_card(name: str, config: Mapping[str, Any], license_: str | None) -> str:
    """A model card in the hub's format, of what a recognizer's config says."""
    runs, run = list[str](), config["provenance"]
    while run and "command" in run:
        runs.insert(0, f"    {run['command']}")
        run = run.get("init")
    metadata = ["library_name: seqocr", "pipeline_tag: image-to-text", "tags: [ocr, digits]"]
    if license_:
        metadata.append(f"license: {license_}")
    return _CARD.format(
        metadata="\n".join(metadata),
        name=name,
        max_length=config["max_length"],
        charset=config["charset"],
        heads=", ".join(config["heads"]),
        runs="\n".join(runs) or "    not known",
    )
