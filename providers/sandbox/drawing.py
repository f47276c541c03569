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
    """What a picture shows. `seed` settles everything that kind and colours leave open."""

    kind: str
    colours: tuple[Colour, Colour, Colour]
    seed: int


def scene(chance: Random, *, kind: str, hue: float) -> Scene:
    """One in the manner of its maker: the kind is theirs, the colours lie around their hue."""

    def colour(lightness: float) -> Colour:
        shade = colorsys.hls_to_rgb((hue + chance.uniform(-0.08, 0.08)) % 1, lightness, chance.uniform(0.35, 0.95))
        return (round(shade[0] * 255), round(shade[1] * 255), round(shade[2] * 255))

    low, middle, high = chance.uniform(0.1, 0.3), chance.uniform(0.4, 0.6), chance.uniform(0.7, 0.92)
    colours = [colour(low), colour(middle), colour(high)]
    chance.shuffle(colours)
    return Scene(kind, (colours[0], colours[1], colours[2]), chance.getrandbits(32))


def draw(scene: Scene, size: Size) -> Image.Image:
    """The same picture at any size."""
    return KINDS[scene.kind](scene, Random(scene.seed), size)


def _gradient(scene: Scene, chance: Random, size: Size) -> Image.Image:
    ramp = Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270)))
    middle = chance.randint(60, 190)
    first, second, third = scene.colours
    return ImageOps.colorize(ramp, first, third, second, midpoint=middle).resize(size)


def _glow(scene: Scene, chance: Random, size: Size) -> Image.Image:
    x, y = chance.randint(0, 128), chance.randint(0, 128)
    light = Image.radial_gradient("L").crop((x, y, x + 128, y + 128))
    first, second, third = scene.colours
    return ImageOps.colorize(light, first, third, second, midpoint=chance.randint(60, 190)).resize(size)


def _stripes(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    count, slope, start = chance.randint(3, 9), chance.uniform(-0.6, 0.6), chance.random()
    step = width / count
    for number in range(-count, 2 * count):
        x = (number + start) * step
        lean = slope * height
        colour = scene.colours[1 + number % 2]
        pen.polygon([(x, 0), (x + step / 2, 0), (x + step / 2 + lean, height), (x + lean, height)], fill=colour)
    return picture


def _bands(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    top = 0.0
    while top < 1:
        deep = chance.uniform(0.05, 0.25)
        pen.rectangle((0, top * height, width, (top + deep) * height), fill=chance.choice(scene.colours))
        top += deep
    return picture


def _tiles(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    columns, rows = chance.randint(2, 5), chance.randint(2, 6)
    for column in range(columns):
        for row in range(rows):
            left, top = column * width / columns, row * height / rows
            colour = chance.choice(scene.colours)
            pen.rectangle((left, top, left + width / columns, top + height / rows), fill=colour)
    return picture


def _discs(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    for _ in range(chance.randint(2, 7)):
        x, y, radius = chance.random() * width, chance.random() * height, chance.uniform(0.08, 0.35) * width
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=chance.choice(scene.colours[1:]))
    return picture


def _rings(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    x, y = chance.uniform(0.2, 0.8) * width, chance.uniform(0.2, 0.8) * height
    count, widest = chance.randint(3, 7), chance.uniform(0.4, 0.8) * width
    for number in range(count):
        radius = widest * (count - number) / count
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.colours[number % 3])
    return picture


def _landscape(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    x, y, radius = chance.random() * width, chance.uniform(0.1, 0.4) * height, chance.uniform(0.08, 0.18) * width
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.colours[2])
    ridge = [(step / 6 * width, chance.uniform(0.45, 0.85) * height) for step in range(7)]
    pen.polygon([(0, height), *ridge, (width, height)], fill=scene.colours[1])
    return picture


def _city(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    left = 0.0
    while left < 1:
        wide, top = chance.uniform(0.08, 0.22), chance.uniform(0.15, 0.8)
        house = (left * width, top * height, (left + wide) * width, height)
        pen.rectangle(house, fill=chance.choice(scene.colours[1:]))
        left += wide
    return picture


def _mug(scene: Scene, chance: Random, size: Size) -> Image.Image:
    picture, pen, width, height = _sheet(scene, size)
    table = chance.uniform(0.6, 0.8) * height
    pen.rectangle((0, table, width, height), fill=scene.colours[1])
    left, wide, tall = chance.uniform(0.15, 0.4) * width, chance.uniform(0.25, 0.4) * width, chance.uniform(0.25, 0.45)
    base, thick = table + 0.08 * height, max(1, round(0.05 * width))
    top = base - tall * height
    handle = (left + wide * 0.7, top + (base - top) * 0.2, left + wide * 1.35, top + (base - top) * 0.75)
    pen.ellipse(handle, outline=scene.colours[2], width=thick)
    pen.rounded_rectangle((left, top, left + wide, base), radius=0.06 * width, fill=scene.colours[2])
    return picture


def _sheet(scene: Scene, size: Size) -> tuple[Image.Image, ImageDraw.ImageDraw, int, int]:
    picture = Image.new("RGB", size, scene.colours[0])
    return picture, ImageDraw.Draw(picture), size[0], size[1]


KINDS: dict[str, Callable[[Scene, Random, Size], Image.Image]] = {
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
