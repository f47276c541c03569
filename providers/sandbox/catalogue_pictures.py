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
    return MOTIFS[scene.motif](scene, Random(scene.seed), size)


def _gradient(scene: Scene, random: Random, size: Size) -> Image.Image:
    ramp = Image.linear_gradient("L").rotate(random.choice((0, 90, 180, 270)))
    middle = random.randint(60, 190)
    first, second, third = scene.colours
    return ImageOps.colorize(ramp, first, third, second, midpoint=middle).resize(size)


def _glow(scene: Scene, random: Random, size: Size) -> Image.Image:
    x, y = random.randint(0, 128), random.randint(0, 128)
    light = Image.radial_gradient("L").crop((x, y, x + 128, y + 128))
    first, second, third = scene.colours
    return ImageOps.colorize(light, first, third, second, midpoint=random.randint(60, 190)).resize(size)


def _stripes(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    count, slope, start = random.randint(3, 9), random.uniform(-0.6, 0.6), random.random()
    step = width / count
    for number in range(-count, 2 * count):
        x = (number + start) * step
        lean = slope * height
        colour = scene.colours[1 + number % 2]
        pen.polygon([(x, 0), (x + step / 2, 0), (x + step / 2 + lean, height), (x + lean, height)], fill=colour)
    return picture


def _bands(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    top = 0.0
    while top < 1:
        deep = random.uniform(0.05, 0.25)
        pen.rectangle((0, top * height, width, (top + deep) * height), fill=random.choice(scene.colours))
        top += deep
    return picture


def _tiles(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    columns, rows = random.randint(2, 5), random.randint(2, 6)
    for column in range(columns):
        for row in range(rows):
            left, top = column * width / columns, row * height / rows
            colour = random.choice(scene.colours)
            pen.rectangle((left, top, left + width / columns, top + height / rows), fill=colour)
    return picture


def _discs(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    for _ in range(random.randint(2, 7)):
        x, y, radius = random.random() * width, random.random() * height, random.uniform(0.08, 0.35) * width
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=random.choice(scene.colours[1:]))
    return picture


def _rings(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    x, y = random.uniform(0.2, 0.8) * width, random.uniform(0.2, 0.8) * height
    count, widest = random.randint(3, 7), random.uniform(0.4, 0.8) * width
    for number in range(count):
        radius = widest * (count - number) / count
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.colours[number % 3])
    return picture


def _landscape(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    x, y, radius = random.random() * width, random.uniform(0.1, 0.4) * height, random.uniform(0.08, 0.18) * width
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.colours[2])
    ridge = [(step / 6 * width, random.uniform(0.45, 0.85) * height) for step in range(7)]
    pen.polygon([(0, height), *ridge, (width, height)], fill=scene.colours[1])
    return picture


def _city(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    left = 0.0
    while left < 1:
        wide, top = random.uniform(0.08, 0.22), random.uniform(0.15, 0.8)
        house = (left * width, top * height, (left + wide) * width, height)
        pen.rectangle(house, fill=random.choice(scene.colours[1:]))
        left += wide
    return picture


def _mug(scene: Scene, random: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _canvas(scene, size)
    table = random.uniform(0.6, 0.8) * height
    pen.rectangle((0, table, width, height), fill=scene.colours[1])
    left, wide, tall = random.uniform(0.15, 0.4) * width, random.uniform(0.25, 0.4) * width, random.uniform(0.25, 0.45)
    base, thick = table + 0.08 * height, max(1, round(0.05 * width))
    top = base - tall * height
    handle = (left + wide * 0.7, top + (base - top) * 0.2, left + wide * 1.35, top + (base - top) * 0.75)
    pen.ellipse(handle, outline=scene.colours[2], width=thick)
    pen.rounded_rectangle((left, top, left + wide, base), radius=0.06 * width, fill=scene.colours[2])
    return picture


def _canvas(scene: Scene, size: Size) -> tuple[Image.Image, ImageDraw.ImageDraw, int, int]:
    picture = Image.new("RGB", size, scene.colours[0])
    return picture, ImageDraw.Draw(picture), size[0], size[1]


MOTIFS: dict[str, Callable[[Scene, Random, Size], Image.Image]] = {
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
