"""The page: draw a number, watch heads race, see what n symbols cost here, read many lines."""

import base64
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from fastapi import FastAPI
from PIL import Image, ImageFilter

from seqocr.data.images import open_line
from seqocr.demo.lanes import CSS, race_html
from seqocr.demo.length_cost import LENGTHS, costs
from seqocr.demo.race import Race, lanes_of, race
from seqocr.demo.review import many_tab
from seqocr.demo.uploads import UploadLimit, make_folder
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.palette import colours_of
from seqocr.serving.service import Service

HERE = Path(__file__).parent
_SLOWDOWN = 300.0
_MARGIN = 12  # pixels around a drawing
_FIRST = "grid-77253"  # the example that races when the page is opened
_DRAWN, _UPLOADED = "draw", "image"  # sources of a line; any other is the name of an example
# The drawing stays in the browser until it is needed. It races if nothing was chosen after it (see pad.js).
_WITH_DRAWING = """(source, pad, ...others) => [
    document.querySelector("#pad .chosen") ? "draw" : source,
    document.querySelector("#pad canvas").toDataURL(),
    ...others,
]"""
# What is timed runs alone.
_CLOCK: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "clock", "api_visibility": "private"}


def mount(app: FastAPI, service: Service, recognizer: Recognizer, token: str | None = None) -> FastAPI:
    """Add the page to an interface, at its root. Nothing of the page comes from elsewhere.

    Args:
        service: reads the lines of the third tab; recognizer: its heads race.
        token: the password of the page's only user, "seqocr"; None: anyone may open it.
    """

    def known(user: str, password: str) -> bool:
        return user == "seqocr" and hmac.compare_digest(password.encode(), str(token).encode())

    app.add_middleware(UploadLimit, folder=make_folder())
    return gr.mount_gradio_app(
        app,
        page(service, recognizer),
        path="/",
        css=CSS,
        theme=_theme(),
        footer_links=[],
        ssr_mode=False,
        show_error=False,  # what we say to visitors is said by gr.Error; other errors may name paths
        max_file_size="50mb",
        auth=known if token else None,
        auth_message="User: seqocr. Password: the token that the server was started with." if token else None,
    )


def _theme() -> gr.themes.Base:
    """Fonts of the machine that looks at it, and colours that can be told from what is behind them."""
    return gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        body_text_color_subdued="*neutral_700",
        body_text_color_subdued_dark="*neutral_300",
    )


def page(service: Service, recognizer: Recognizer) -> gr.Blocks:
    """The page by itself, as `mount` adds it."""
    with gr.Blocks(title="seqocr: heads race", analytics_enabled=False, delete_cache=(300, 3600)) as blocks:
        gr.Markdown(
            "# Which head reads your number first?\n"
            "Draw digits, drop an image or take an example. One encoder looks at it; then every head writes what "
            "it reads, in slow motion. For programs: [API docs](docs)."
        )
        line = gr.State(None)
        with gr.Tab("Race"):
            _race_tab(blocks, recognizer, line)
        with gr.Tab("Cost against length"):
            _cost_tab(recognizer, line)
        with gr.Tab("Many lines"):
            many_tab(service)
    return blocks


def _examples() -> dict[str, Path]:
    """By name, which is kind-digits: what the line says comes after the dash."""
    return {path.stem: path for path in sorted((HERE / "examples").glob("*.png"))}


def _label(example: str) -> str:
    kind, _, text = example.partition("-")
    return f"{kind}: {text}" if text else f"blank {kind}"


@dataclass(frozen=True)
class _Raced:
    """A race that was run, with the line as the encoder has it, and what it says, where that is known."""

    race: Race
    line: Image.Image
    truth: str

    def html(self, slowdown: float) -> str:
        return race_html(self.race, self.line, slowdown, self.truth)


def _race_tab(blocks: gr.Blocks, recognizer: Recognizer, line: gr.State) -> None:
    raced, source, examples = gr.State(None), gr.Textbox(_FIRST, visible=False), _examples()
    with gr.Row():
        with gr.Column(min_width=260):
            with gr.Tabs():
                with gr.Tab("Draw"):
                    pad = gr.HTML(
                        html_template=(HERE / "pad.html").read_text(encoding="utf-8"),
                        js_on_load=(HERE / "pad.js").read_text(encoding="utf-8"),
                        elem_id="pad",
                    )
                with gr.Tab("Image"):
                    image = gr.Image(
                        type="filepath", sources=["upload", "clipboard"], label="Drop or paste an image", height=200,
                        buttons=[], elem_id="image",
                    )  # fmt: skip
                    # Gradio opens images itself, and tells visitors paths where it cannot: `_open` does it instead.
                    image.preprocess = lambda given: given and given.path  # type: ignore
                with gr.Tab("Examples"):
                    gr.Markdown("Synthetic lines: three levels by hand, print, a display, wheels, and blank paper.")
                    gallery = gr.Gallery(
                        [(str(path), _label(name)) for name, path in examples.items()],
                        show_label=False, label="Examples", columns=2, height="auto", object_fit="contain",
                        allow_preview=False, buttons=[], elem_id="examples",
                    )  # fmt: skip
            go = gr.Button("Race", variant="primary", elem_id="go")
        with gr.Column(min_width=300, scale=2):
            lanes = gr.HTML(elem_id="lanes", min_height=80)
            slower = gr.Slider(1, 1000, _SLOWDOWN, step=1, label="Slow motion ×", elem_id="slower")
            again = gr.Button("Show it again", elem_id="again")
            with gr.Accordion("Damage", open=False):
                blur = gr.Slider(0, 6, 0, step=0.25, label="Blur, pixels", elem_id="blur")
                cover = gr.Slider(0, 1, 0, step=0.05, label="Covered, share of the width", elem_id="cover")
                noise = gr.Slider(0, 1, 0, step=0.05, label="Noise", elem_id="noise")

    damage = [blur, cover, noise]

    def run(
        source: str, drawn: str | None, image: str | None, slower: float, *damage: float
    ) -> tuple[str, _Raced, Image.Image]:
        try:
            given = image if source == _UPLOADED else str(examples.get(source, ""))
            whole = _crop(drawn) if source == _DRAWN else _open(given)
            grey = _damage(whole, *damage)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        size = recognizer.processor.size_of(grey.width, grey.height)
        truth = source.partition("-")[2] if source in examples else ""
        found = _Raced(race(recognizer, grey), grey.resize(size, Image.Resampling.BILINEAR), truth)
        return found.html(slower), found, grey

    inputs, outputs = [source, pad, image, slower, *damage], [lanes, raced, line]
    racing: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "js": _WITH_DRAWING, **_CLOCK}
    blocks.load(run, **racing)
    go.click(run, **racing)
    for slider in damage:
        slider.change(run, **racing, trigger_mode="always_last")
    image.upload(lambda: _UPLOADED, None, source, api_visibility="private").then(run, **racing)

    def choose(event: gr.SelectData) -> str:
        return list(examples)[event.index]

    gallery.select(choose, None, source, api_visibility="private").then(run, **racing)

    def show(found: _Raced | None, slower: float) -> Any:
        return gr.skip() if found is None else found.html(slower)

    for event in (again.click, slower.change):
        event(show, [raced, slower], lanes, api_visibility="private", trigger_mode="always_last")


def _open(path: str | None) -> Image.Image:
    if path is None:
        raise InputError("No image yet: drop or paste one, or choose an example.")
    return open_line(Path(path), Path(path).name)


def _crop(url: str | None) -> Image.Image:
    """The grey line of a drawing (a data URL): cut to what is there, with a margin."""
    _, _, data = (url or "").partition("base64,")
    grey = open_line(base64.b64decode(data), "the drawing", 1_000_000) if data else None
    box = Image.eval(grey, lambda x: 255 - x).getbbox() if grey else None
    if not grey or not box:
        raise InputError("Nothing is drawn yet: draw some digits.")
    left, top, right, bottom = box
    line = Image.new("L", (right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN), 255)
    line.paste(grey.crop(box), (_MARGIN, _MARGIN))
    return line


def _damage(line: Image.Image, blur: float, cover: float, noise: float) -> Image.Image:
    if blur:
        line = line.filter(ImageFilter.GaussianBlur(blur))
    if cover:
        line = line.copy()
        width = round(cover * line.width)
        left = (line.width - width) // 2
        line.paste(int(np.median(np.asarray(line))), (left, 0, left + width, line.height))
    if noise:
        grain = np.random.default_rng(0).normal(0, 128 * noise, (line.height, line.width))
        line = Image.fromarray((np.asarray(line) + grain).clip(0, 255).astype(np.uint8))
    return line


def _cost_tab(recognizer: Recognizer, line: gr.State) -> None:
    gr.Markdown(
        "What decoding n symbols takes on this machine, now. Heads are as large as those that race, and made to "
        "write n symbols whatever the line. The encoder comes on top, the same for every head."
    )
    longest = gr.Slider(2, LENGTHS[-1], LENGTHS[-1], step=1, label="Longest n", elem_id="longest")
    measure = gr.Button("Measure", variant="primary", elem_id="measure")
    colours = colours_of(lanes_of(recognizer))
    plot = gr.LinePlot(
        x="n", y="milliseconds", color="lane", x_title="symbols, n", y_title="decoding, ms", label="Decoding time",
        height=320, color_map=colours, elem_id="plot", visible=False,
    )  # fmt: skip
    marks = (f'<span><i style="background:{colour}"></i> {name}</span>' for name, colour in colours.items())
    gr.HTML(f'<p class="legend">{"".join(marks)}</p>')
    table = gr.Dataframe(label="Measured", interactive=False, elem_id="costs")

    def run(longest: float, line: Image.Image | None) -> Iterator[tuple[Any, pd.DataFrame]]:
        lengths = sorted({n for n in LENGTHS if n < longest} | {int(longest)})
        line = line or Image.new("L", (recognizer.processor.width, recognizer.processor.height), 255)
        found = pd.DataFrame()
        for of_length in costs(recognizer, line, lengths):
            found = pd.concat([found, pd.DataFrame(of_length)], ignore_index=True).round({"milliseconds": 3})
            yield gr.update(value=found, visible=True), found[found.n == found.n.max()]

    measure.click(run, [longest, line], [plot, table], **_CLOCK)
