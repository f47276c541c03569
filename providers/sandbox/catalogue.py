"""The world that the sandbox searches, the same at every start: 240 invented creators and what they posted, and 180
products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

from PIL import Image

from providers.sandbox.drawing import KINDS, Scene, draw, scene
from providers.sandbox.similarity import Gallery, describe

CREATORS = 240
PRODUCTS = 180
SMALL, FULL = (90, 120), (360, 480)
FIRST_NAMES = (
    *("Ada", "Bruno", "Chiara", "Dario", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Luis"),
    *("Mira", "Noor", "Oskar", "Pia", "Quinn", "Rosa", "Sami", "Tara", "Uma", "Vito", "Wren", "Zoe"),
)
CRAFTS = ("Clay", "Loom", "Ink", "Oven", "Trail", "Lens", "Vinyl", "Bloom", "Stitch", "Roast")
CATEGORIES = ("Digital creator", "Artist", "Sportsperson", "Cook", "Photographer", "Shop")
BRANDS = ("Norrland Mugs", "Tidewater", "Papel & Co", "Kite Coffee", "Fjell", "Lumo")
# Where a creator lives, by Modash's ids, and what is spoken there.
HOMES = ((148838, "en"), (62149, "en"), (51477, "de"), (2202162, "fr"), (1311341, "es"), (59470, "pt"))

REGIONS = ("US", "US", "US", "GB", "DE", "ID", "MY", "PH", "SG", "TH", "VN")
LOOKS = ("Classic", "Everyday", "Handmade", "Large", "Mini", "Soft", "Vintage")
WARES = {
    "bands": ("Blanket", "Beach Towel"),
    "city": ("Skyline Poster", "Notebook"),
    "discs": ("Phone Case", "Tote Bag"),
    "glow": ("Night Light", "Lamp"),
    "gradient": ("Silk Scarf", "Yoga Mat"),
    "landscape": ("Wall Art", "Jigsaw Puzzle"),
    "mug": ("Coffee Mug", "Tea Cup"),
    "rings": ("Round Rug", "Dart Board"),
    "stripes": ("T-Shirt", "Socks"),
    "tiles": ("Quilt", "Bath Mat"),
}


@dataclass(frozen=True)
class SandboxPost:
    """-1 likes or comments are hidden ones."""

    id: str
    scene: Scene
    content_type: str
    age_days: int
    likes: int
    comments: int
    shares: int
    plays: int
    collects: int


@dataclass(frozen=True)
class SandboxCreator:
    user_id: str | None
    full_name: str | None
    username: str
    portrait: SandboxPost
    followers: int
    engagement_rate: float
    gender: str
    age: int
    location: int
    language: str
    account_type: str
    category: str
    has_email: bool
    brands: tuple[str, ...]
    posts: tuple[SandboxPost, ...]


@dataclass(frozen=True)
class SandboxProduct:
    id: str
    name: str
    region: str
    scene: Scene


class Catalogue:
    def __init__(self) -> None:
        chance = Random("the sandbox's world")
        self.creators = [_creator(chance, number) for number in range(CREATORS)]
        self.posts = [post for creator in self.creators for post in creator.posts]
        chance = Random("the sandbox's shops")
        self.products = [_product(chance) for _ in range(PRODUCTS)]
        self._scenes = {pictured.id: pictured.scene for pictured in self._pictured()}

    @cached_property
    def gallery(self) -> Gallery:
        """How the posts look, in their order."""
        return Gallery(describe(draw(post.scene, SMALL)) for post in self.posts)

    def picture(self, id: str) -> Image.Image | None:
        scene = self._scenes.get(id)
        return draw(scene, FULL) if scene else None

    def _pictured(self) -> Iterator[SandboxPost | SandboxProduct]:
        for creator in self.creators:
            yield creator.portrait
            yield from creator.posts
        yield from self.products


def _creator(chance: Random, number: int) -> SandboxCreator:
    first, craft = chance.choice(FIRST_NAMES), chance.choice(CRAFTS)
    location, language = chance.choice(HOMES)
    kind, hue = chance.choice(sorted(KINDS)), chance.random()
    posts = [_post(chance, kind=kind, hue=hue) for _ in range(chance.randint(3, 5))]
    return SandboxCreator(
        # Two fields that Modash may leave out, left out now and then.
        user_id=None if number % 20 == 7 else str(chance.randint(10**17, 10**18)),
        full_name=None if number % 15 == 4 else f"{first} {craft}",
        username=f"{first}.{craft}.sandbox{number:03}".lower(),
        portrait=_post(chance, kind=kind, hue=hue),
        followers=round(10 ** chance.uniform(2.7, 7.6)),
        engagement_rate=round(chance.uniform(0.002, 0.18), 4),
        gender=chance.choice(("FEMALE", "FEMALE", "MALE", "MALE", "UNKNOWN")),
        age=chance.randint(14, 70),
        location=location,
        language=language,
        account_type=chance.choice(("creator", "creator", "creator", "brand")),
        category=chance.choice(CATEGORIES),
        has_email=chance.random() < 0.6,
        brands=tuple(chance.sample(BRANDS, chance.randint(0, 2))),
        posts=tuple(posts),
    )


def _product(chance: Random) -> SandboxProduct:
    kind = chance.choice(sorted(KINDS))
    return SandboxProduct(
        id=str(chance.randint(17 * 10**17, 18 * 10**17)),
        name=f"{chance.choice(LOOKS)} {chance.choice(WARES[kind])}",
        region=chance.choice(REGIONS),
        scene=scene(chance, kind=kind, hue=chance.random()),
    )


def _post(chance: Random, *, kind: str, hue: float) -> SandboxPost:
    plays = round(10 ** chance.uniform(2, 6.5))
    likes = round(plays * chance.uniform(0.01, 0.2))
    hidden = chance.random() < 0.1
    return SandboxPost(
        id=str(chance.randint(7 * 10**18, 75 * 10**17)),
        scene=scene(chance, kind=kind, hue=hue),
        content_type=chance.choice(("video", "video", "video", "image")),
        age_days=round(chance.triangular(0, 500, 20)),
        likes=-1 if hidden else likes,
        comments=-1 if hidden else likes // chance.randint(10, 60),
        shares=likes // 20,
        plays=plays,
        collects=likes // 15,
    )
