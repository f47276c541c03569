"""Draws the catalogue's pictures from a few numbers each, so that the repository holds no image files."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageOps

Colour = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """The content of a picture. `seed` decides all that motif and colours leave open."""

    motif: str
    colours: tuple[Colour, Colour, Colour]
    seed: int


def scene(random: Random, *, motif: str, hue: float) -> Scene:
    """Returns a scene in one creator's style: of the creator's motif, in colours around the creator's hue."""

    def colour(lightness: float) -> Colour:
        shade = colorsys.hls_to_rgb((hue + random.uniform(-0.08, 0.08)) % 1, lightness, random.uniform(0.35, 0.95))
        return (round(shade[0] * 255), round(shade[1] * 255), round(shade[2] * 255))

    low, middle, high = random.uniform(0.1, 0.3), random.uniform(0.4, 0.6), random.uniform(0.7, 0.92)
    colours = [colour(low), colour(middle), colour(high)]
    random.shuffle(colours)
    return Scene(motif, (colours[0], colours[1], colours[2]), random.getrandbits(32))


def draw(scene: Scene, size: Size) -> Image.Image:
    """Draws a scene. Every size shows the same picture."""
    canvas = Canvas(scene, size)
    MOTIFS[scene.motif](canvas, Random(scene.seed))
    return canvas.picture


class Canvas:
    """A picture in the first of its scene's colours, and a pen to draw on it."""

    def __init__(self, scene: Scene, size: Size) -> None:
        self.colours = scene.colours
        self.width, self.height = size
        self.picture = Image.new("RGB", size, scene.colours[0])
        self.pen = ImageDraw.Draw(self.picture)

    def paint(self, light: Image.Image, random: Random) -> None:
        """Covers the picture with a grey one, whose dark, middle and light parts become the three colours."""
        first, second, third = self.colours
        painted = ImageOps.colorize(light, first, third, second, midpoint=random.randint(60, 190))
        self.picture.paste(painted.resize(self.picture.size))

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _gradient(canvas: Canvas, random: Random) -> None:
    canvas.paint(Image.linear_gradient("L").rotate(random.choice((0, 90, 180, 270))), random)


def _glow(canvas: Canvas, random: Random) -> None:
    x, y = random.randint(0, 128), random.randint(0, 128)
    canvas.paint(Image.radial_gradient("L").crop((x, y, x + 128, y + 128)), random)


def _stripes(canvas: Canvas, random: Random) -> None:
    count, slope, start = random.randint(3, 9), random.uniform(-0.6, 0.6), random.random()
    step, lean, height = canvas.width / count, slope * canvas.height, canvas.height
    for number in range(-count, 2 * count):
        x = (number + start) * step
        corners = [(x, 0), (x + step / 2, 0), (x + step / 2 + lean, height), (x + lean, height)]
        canvas.pen.polygon(corners, fill=canvas.colours[1 + number % 2])


def _bands(canvas: Canvas, random: Random) -> None:
    top = 0.0
    while top < 1:
        deep = random.uniform(0.05, 0.25)
        band = (0, top * canvas.height, canvas.width, (top + deep) * canvas.height)
        canvas.pen.rectangle(band, fill=random.choice(canvas.colours))
        top += deep


def _tiles(canvas: Canvas, random: Random) -> None:
    columns, rows = random.randint(2, 5), random.randint(2, 6)
    wide, tall = canvas.width / columns, canvas.height / rows
    for column in range(columns):
        for row in range(rows):
            left, top = column * canvas.width / columns, row * canvas.height / rows
            canvas.pen.rectangle((left, top, left + wide, top + tall), fill=random.choice(canvas.colours))


def _discs(canvas: Canvas, random: Random) -> None:
    for _ in range(random.randint(2, 7)):
        x, y = random.random() * canvas.width, random.random() * canvas.height
        canvas.disc(x, y, random.uniform(0.08, 0.35) * canvas.width, random.choice(canvas.colours[1:]))


def _rings(canvas: Canvas, random: Random) -> None:
    x, y = random.uniform(0.2, 0.8) * canvas.width, random.uniform(0.2, 0.8) * canvas.height
    count, widest = random.randint(3, 7), random.uniform(0.4, 0.8) * canvas.width
    for number in range(count):
        canvas.disc(x, y, widest * (count - number) / count, canvas.colours[number % 3])


def _landscape(canvas: Canvas, random: Random) -> None:
    width, height = canvas.width, canvas.height
    x, y, radius = random.random() * width, random.uniform(0.1, 0.4) * height, random.uniform(0.08, 0.18) * width
    canvas.disc(x, y, radius, canvas.colours[2])
    ridge = [(step / 6 * width, random.uniform(0.45, 0.85) * height) for step in range(7)]
    canvas.pen.polygon([(0, height), *ridge, (width, height)], fill=canvas.colours[1])


def _city(canvas: Canvas, random: Random) -> None:
    left = 0.0
    while left < 1:
        wide, top = random.uniform(0.08, 0.22), random.uniform(0.15, 0.8)
        house = (left * canvas.width, top * canvas.height, (left + wide) * canvas.width, canvas.height)
        canvas.pen.rectangle(house, fill=random.choice(canvas.colours[1:]))
        left += wide


def _mug(canvas: Canvas, random: Random) -> None:
    width, height = canvas.width, canvas.height
    table = random.uniform(0.6, 0.8) * height
    canvas.pen.rectangle((0, table, width, height), fill=canvas.colours[1])
    left, wide, tall = random.uniform(0.15, 0.4) * width, random.uniform(0.25, 0.4) * width, random.uniform(0.25, 0.45)
    base, thick = table + 0.08 * height, max(1, round(0.05 * width))
    top = base - tall * height
    handle = (left + wide * 0.7, top + (base - top) * 0.2, left + wide * 1.35, top + (base - top) * 0.75)
    canvas.pen.ellipse(handle, outline=canvas.colours[2], width=thick)
    canvas.pen.rounded_rectangle((left, top, left + wide, base), radius=0.06 * width, fill=canvas.colours[2])


MOTIFS: dict[str, Callable[[Canvas, Random], None]] = {
    "gradient": _gradient,
    "glow": _glow,
    "stripes": _stripes,
    "bands": _bands,
    "tiles": _tiles,
    "discs": _discs,
    "rings": _rings,
    "landscape": _landscape,
    "city": _city,
    "mug": _mug,
}
