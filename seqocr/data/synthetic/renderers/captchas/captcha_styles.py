"""How generators of captchas draw: ranges of what one line's looks are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from seqocr.data.synthetic.renderers.captchas.captcha_noise import GROUNDS


@dataclass(frozen=True)
class Style:
    """How a generator draws; ranges are (lowest, highest).

    Attributes:
        share: how often.
        height: of digits, pixels.
        grounds: names in `GROUNDS`, one is chosen; dark: how often digits are light on dark.
        each: how often each digit has a colour of its own.
        turn: degrees; shear: share; uneven: standard deviation of sizes; gap: share of the height.
        looks: of digits; one is chosen.
        under, over: lines below and above the digits; line: their greatest width, pixels.
        dots: share of pixels; swing: of waves, share of the height.
        crisp: how often edges are not smooth.
        kinds: of fonts.
    """

    share: float
    height: tuple[float, float] = (16, 48)
    grounds: tuple[str, ...] = ("plain",)
    dark: float = 0.1
    each: float = 0.7
    turn: tuple[float, float] = (0, 30)
    shear: float = 0.2
    uneven: float = 0.08
    gap: tuple[float, float] = (-0.1, 0.3)
    looks: tuple[str, ...] = ("solid",)
    under: tuple[int, int] = (0, 4)
    over: tuple[int, int] = (0, 4)
    line: int = 1
    dots: tuple[float, float] = (0, 0.05)
    swing: tuple[float, float] = (0, 0)
    crisp: float = 0.15
    kinds: tuple[str, ...] = ("print", "mono")


_LOOKS = ("solid", "solid", "solid", "hollow", "shadow", "raised", "shaded", "rimmed")
STYLES = (
    # Six digits of six colours on a light ground, with dots and lines: the small images of countless log-in pages.
    Style(0.3, (14, 30), ("plain", "plain", "grain", "gradient"), 0.08, 0.95, (0, 30), line=1, crisp=0.35),
    # Anything with anything.
    Style(
        0.22,
        (16, 50),
        tuple(GROUNDS),
        0.25,
        0.65,
        (0, 32),
        0.3,
        0.12,
        (-0.16, 0.4),
        _LOOKS,
        (0, 8),
        (0, 5),
        2,
        (0, 0.08),
        (0, 0.12),
        0.15,
        ("print", "mono", "narrow", "display", "hand"),
    ),
    # Python's captcha: one dark colour, digits warped and near, one arc, dots of three pixels.
    Style(0.08, (28, 44), ("plain",), 0, 0.1, (5, 30), 0.3, 0.1, (-0.14, 0.08), over=(1, 1), line=2, dots=(0.01, 0.03)),
    # PHP's Securimage and Gregwar: waves, lines of the digits' colour.
    Style(
        0.1,
        (20, 44),
        ("plain", "clouds"),
        0.15,
        0.3,
        (0, 15),
        0.1,
        0.05,
        (-0.05, 0.25),
        under=(0, 4),
        over=(1, 5),
        line=1,
        dots=(0, 0.03),
        swing=(0.04, 0.13),
    ),
    # Kaptcha and JCaptcha: a grey gradient, ripples, one thick curve; digits touch.
    Style(
        0.08,
        (22, 44),
        ("gradient", "clouds", "grid"),
        0.1,
        0.2,
        (0, 14),
        0.1,
        0.06,
        (-0.1, 0.12),
        ("solid", "shadow", "shaded"),
        (0, 1),
        (1, 2),
        3,
        (0, 0.01),
        (0.02, 0.1),
    ),
    # svg-captcha and easy-captcha: coloured digits and curves, clean edges, circles.
    Style(
        0.1,
        (22, 46),
        ("plain",),
        0.05,
        0.8,
        (0, 20),
        0.1,
        0.05,
        (0, 0.35),
        under=(1, 4),
        over=(1, 3),
        line=2,
        dots=(0, 0),
    ),
    # Pixels of GD's own fonts: mono, upright, on noise.
    Style(
        0.06,
        (14, 22),
        ("plain", "grain", "grid"),
        0.1,
        0.5,
        (0, 6),
        0,
        0,
        (0, 0.5),
        dots=(0.01, 0.1),
        crisp=1,
        kinds=("mono",),
    ),
    # Light on a dark noisy ground, raised or hollow digits.
    Style(
        0.06,
        (20, 46),
        ("grain", "clouds", "gradient", "grid"),
        0.7,
        0.6,
        (0, 25),
        0.2,
        0.1,
        (-0.05, 0.3),
        _LOOKS[2:],
    ),
)
