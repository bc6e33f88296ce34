"""The camera: what happens between a scene and a file, the same for all renderers.

A scene is framed (`framing`), lit (`light`), blurred by the lens, sampled by a sensor of some resolution with noise,
developed (exposure, contrast, colours, sharpening) and compressed. How much of that is drawn per image: a third is
nearly clean, a third moderate, a third hard, but still readable: steps that blur share one budget, and noise and
exposure are held against the contrast that the scene has.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from seqocr.data.synthetic.framing import choose_frame, take_frame
from seqocr.data.synthetic.grain import normal_noise
from seqocr.data.synthetic.light import shine

_LEVELS = ((0.0, 0.12), (0.3, 0.6), (0.7, 1.0))  # strengths: nearly clean, moderate, hard
_DIGITS = 0.5  # share of a scene's height that digits fill at least, taken for granted
_LOWEST = 10.0  # pixels: digits of the poorest sensor
_KEPT = 36.0  # levels of contrast that development leaves at least, where there were as many
_GREY = (0.299, 0.587, 0.114)
_RESAMPLING = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photograph, scan or screenshot (h', w', 3) uint8 of a scene (h, w, 3) uint8."""
    low, high = _LEVELS[int(rng.integers(len(_LEVELS)))]
    strength = rng.uniform(low, high)
    image = _step_back(image, rng)
    spans = _spans(image)
    digits = _DIGITS * image.shape[0]  # pixels
    image = take_frame(image, choose_frame(image.shape[0], image.shape[1], strength, rng), rng)
    image = shine(image, strength, float(spans[:, 1].max() - spans[:, 0].min()), rng)
    blurring = rng.dirichlet((0.5, 0.5, 0.7)) * (0.15 + 0.85 * strength)  # lens, motion, resolution
    if rng.random() < 0.2:
        blurring[:] = 0
    picture = _defocus(Image.fromarray(image), 0.06 * digits * float(blurring[0]), rng)
    picture = _move(picture, 0.22 * digits * float(blurring[1]), rng)
    # Some scanners and videos have pixels that are not square.
    stretch = float(np.exp(rng.normal(0, 0.12))) if rng.random() < 0.3 else 1.0
    size = (max(8, round(picture.width * stretch)), picture.height)
    picture = _sample(picture, digits, float(blurring[2]), rng)
    picture = _develop(_add_noise(picture, strength, spans, rng), strength, spans, rng)
    picture = _sharpen(picture, strength, rng)
    picture = _finish(picture, spans, rng)
    picture = _compress(picture, strength, rng)
    if picture.size != size and (stretch != 1 or rng.random() < 0.6):
        picture = picture.resize(size, _RESAMPLING[int(rng.choice(3, p=(0.2, 0.4, 0.4)))])
    return np.array(picture)


def _step_back(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tall scene as seen from so far that readers, who take 32 rows of it, lose little: it is faster."""
    h, w, _ = image.shape
    rows = round(rng.uniform(34, 50))
    if h <= rows or rng.random() < 0.15:
        return image
    size = (max(8, round(w * rows / h)), rows)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _spans(image: np.ndarray) -> np.ndarray:
    """Dark and light levels (3, 2) of each channel of a scene's middle rows, without the few farthest."""
    h, w, _ = image.shape
    some = image[h // 5 : max(h - h // 5, h // 5 + 1) : 3, :: max(1, w // 80)].reshape(-1, 3)
    few = len(some) // 120  # thin ink covers little
    some = np.partition(some, (few, len(some) - 1 - few), axis=0)
    return some[[few, -1 - few]].T.astype(np.float32)


def _to_picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _defocus(picture: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    """Out of focus by `sigma` pixels: soft, or by a box as large (closer to a disc)."""
    if sigma < 0.25:
        return picture
    return picture.filter(ImageFilter.GaussianBlur(sigma) if rng.random() < 0.4 else ImageFilter.BoxBlur(1.5 * sigma))


def _move(picture: Image.Image, length: float, rng: np.random.Generator) -> Image.Image:
    """Blur by a movement of `length` pixels in a random direction."""
    steps = min(math.ceil(length), 9)
    if steps < 2:
        return picture
    pixels, angle = np.asarray(picture), rng.uniform(0, math.pi)
    reach = math.ceil(length / 2)
    wide = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), "edge")
    h, w, _ = pixels.shape
    total = np.zeros(pixels.shape, np.uint16)
    for at in np.linspace(-length / 2, length / 2, steps):
        down, right = reach + round(at * math.sin(angle)), reach + round(at * math.cos(angle))
        total += wide[down : down + h, right : right + w]
    return Image.fromarray((total // steps).astype(np.uint8))


def _sample(picture: Image.Image, digits: float, loss: float, rng: np.random.Generator) -> Image.Image:
    """Fewer pixels: digits of as few as `_LOWEST` where the loss (in [0, 1]) is all of it."""
    if loss < 0.2 or rng.random() < 0.3:
        return picture
    scale = max(_LOWEST, digits * (1 - loss)) / digits
    if scale > 0.9:
        return picture
    size = (max(4, round(picture.width * scale)), max(4, round(picture.height * scale)))
    how = Image.Resampling.BILINEAR if rng.random() < 0.5 else Image.Resampling.BOX
    if rng.random() < 0.15 and scale > 0.6:  # some software takes no mean
        how = Image.Resampling.NEAREST
    return picture.resize(size, how)


def _add_noise(picture: Image.Image, strength: float, spans: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """What a sensor counts."""
    if rng.random() > 0.35 + 0.45 * strength:
        return picture
    pixels = np.asarray(picture, np.float32)
    h, w, _ = pixels.shape
    contrast = float((spans[:, 1] - spans[:, 0]).max())
    # Digits of few pixels have few to take the mean of.
    sigma = rng.uniform(0.5, 3 + 25 * strength * rng.random()) * min(1, contrast / 120) * min(1, h / 40)
    noise = normal_noise((h, w), 1 if rng.random() < 0.5 else 3, rng)  # of brightness, or of colour
    if rng.random() < 0.25:  # as after a camera's own smoothing: coarse grain
        coarse = normal_noise(((h + 1) // 2, (w + 1) // 2), 1, rng)
        noise = noise * 0.5 + coarse.repeat(2, 0)[:h].repeat(2, 1)[:, :w] * 0.8
    noise = noise * np.float32(sigma)
    if rng.random() < 0.4:  # photons: more of it where it is light
        noise = noise * np.sqrt(pixels[..., 1:2] / 160 + 0.05)
    pixels = pixels + noise
    if rng.random() < 0.08:
        some = rng.random((h, w)) < rng.uniform(0.001, 0.02 * strength + 0.002)
        pixels[some] = rng.choice((0.0, 255.0), size=(int(some.sum()), 1))
    return _to_picture(pixels)


def _develop(picture: Image.Image, strength: float, spans: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Exposure, gamma, contrast and colour cast, as one table of levels per channel."""
    if rng.random() > 0.3 + 0.6 * strength:
        return picture
    level = np.arange(256, dtype=np.float32) / 255
    curve = np.clip(level * np.exp(rng.normal(0, 0.05 + 0.3 * strength)), 0, 1) ** np.exp(rng.normal(0, 0.3 * strength))
    if rng.random() < 0.4:
        contrast = np.exp(rng.normal(-0.3 * strength, 0.1 + 0.5 * strength))
        curve = rng.uniform(0.2, 0.8) * (1 - contrast) + contrast * curve
    casts = 1 + rng.normal(0, 0.02 + 0.08 * strength, 3) * (rng.random() < 0.4)
    tables = (255 * curve[None] * casts[:, None]).clip(0, 255)
    return picture.point(_with_contrast(tables, spans).astype(np.uint8).ravel().tolist())


def _with_contrast(tables: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Tables (3, 256) mixed with no change, as far as the scene's contrast needs to be kept."""
    before = float((spans[:, 1] - spans[:, 0]).max())
    channel = np.arange(3)[:, None]
    after = float(np.diff(tables[channel, spans.astype(int)], axis=1).max())
    least = min(before, max(_KEPT, 0.35 * before))
    if after >= least:
        return tables
    share = (least - after) / max(before - after, 1e-6)
    return tables + share * (np.arange(256) - tables)


def _sharpen(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Halos, as phones and scanners add them."""
    if rng.random() > 0.08 + 0.12 * strength:
        return picture
    return picture.filter(ImageFilter.UnsharpMask(rng.uniform(0.6, 3), int(rng.integers(40, 250)), 0))


def _finish(picture: Image.Image, spans: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Scan lines, moire, inversion, grey, black and white: each seldom."""
    kind = rng.random()
    grey_span = float(abs(_GREY @ spans[:, 1] - _GREY @ spans[:, 0]))
    if kind < 0.015:
        return _interfere(picture, rng)
    if kind < 0.035:
        return ImageOps.invert(picture)
    if kind < 0.14 and grey_span > _KEPT:
        return picture.convert("L").convert("RGB")
    if kind < 0.165 and grey_span > 110 and picture.height > 28:
        return _binarize(picture, rng)
    return picture


def _interfere(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Waves of a screen's rows and a sensor's."""
    pixels = np.asarray(picture, np.float32)
    h, w, _ = pixels.shape
    angle = rng.normal(math.pi / 2, 0.02) if rng.random() < 0.5 else rng.uniform(0, math.pi)
    period = rng.uniform(2, 7)
    phase = np.arange(h)[:, None] * math.sin(angle) + np.arange(w)[None] * math.cos(angle)
    wave = 1 + rng.uniform(0.05, 0.25) * np.sin(2 * math.pi / period * phase)
    return _to_picture(pixels * wave[..., None].astype(np.float32))


def _binarize(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Black and white, as a fax or a copier makes it: by the brightness around, or dithered."""
    grey = picture.convert("L")
    if rng.random() < 0.3:
        return grey.convert("1").convert("RGB")
    pixels = np.asarray(grey, np.float32)
    around = np.asarray(grey.filter(ImageFilter.BoxBlur(picture.height / 2)), np.float32)
    local = rng.uniform(0.2, 1)
    threshold = rng.uniform(0.78, 0.97) * (local * around + (1 - local) * pixels.mean())
    return Image.fromarray(((pixels > threshold) * 255).astype(np.uint8)).convert("RGB")


def _compress(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """As it comes back from a JPEG."""
    if rng.random() > 0.65:
        return picture
    worst = 80 - 62 * strength if picture.height > 30 else max(40.0, 80 - 62 * strength)
    quality = int(rng.uniform(worst, 96))
    picture.save(file := BytesIO(), "JPEG", quality=quality, subsampling=int(rng.choice((0, 2))))
    with Image.open(file) as stored:
        return stored.convert("RGB")
