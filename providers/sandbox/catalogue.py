"""Invents the world that the sandbox searches: 240 creators with their posts, and 180 products, the same at every start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random

from PIL import Image

from providers.sandbox.catalogue_pictures import MOTIFS, Scene, draw, scene
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
# Homes of creators, by Modash's ids of locations, and the languages spoken there.
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
    """A post of a creator. Hidden likes or comments are -1, as in Modash's answers."""

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
        random = Random("the sandbox's world")
        self.creators = [_creator(random, number) for number in range(CREATORS)]
        self.posts = [post for creator in self.creators for post in creator.posts]
        random = Random("the sandbox's shops")
        self.products = [_product(random) for _ in range(PRODUCTS)]
        pictured = (*(creator.portrait for creator in self.creators), *self.posts)
        self._scenes = {post.id: post.scene for post in pictured}
        self._scenes |= {product.id: product.scene for product in self.products}

    @cached_property
    def gallery(self) -> Gallery:
        """Describes the pictures of all posts, in the order of `posts`."""
        return Gallery(describe(draw(post.scene, SMALL)) for post in self.posts)

    @cached_property
    def product_gallery(self) -> Gallery:
        """Describes the pictures of all products, in the order of `products`."""
        return Gallery(describe(draw(product.scene, SMALL)) for product in self.products)

    def picture(self, id: str) -> Image.Image | None:
        scene = self._scenes.get(id)
        return draw(scene, FULL) if scene else None


def _creator(random: Random, number: int) -> SandboxCreator:
    first, craft = random.choice(FIRST_NAMES), random.choice(CRAFTS)
    location, language = random.choice(HOMES)
    motif, hue = random.choice(sorted(MOTIFS)), random.random()
    posts = [_post(random, motif=motif, hue=hue) for _ in range(random.randint(3, 5))]
    return SandboxCreator(
        # Modash may leave these two fields out.
        user_id=None if number % 20 == 7 else str(random.randint(10**17, 10**18)),
        full_name=None if number % 15 == 4 else f"{first} {craft}",
        username=f"{first}.{craft}.sandbox{number:03}".lower(),
        portrait=_post(random, motif=motif, hue=hue),
        followers=round(10 ** random.uniform(2.7, 7.6)),
        engagement_rate=round(random.uniform(0.002, 0.18), 4),
        gender=random.choice(("FEMALE", "FEMALE", "MALE", "MALE", "UNKNOWN")),
        age=random.randint(14, 70),
        location=location,
        language=language,
        account_type=random.choice(("creator", "creator", "creator", "brand")),
        category=random.choice(CATEGORIES),
        has_email=random.random() < 0.6,
        brands=tuple(random.sample(BRANDS, random.randint(0, 2))),
        posts=tuple(posts),
    )


def _product(random: Random) -> SandboxProduct:
    motif = random.choice(sorted(MOTIFS))
    return SandboxProduct(
        id=str(random.randint(17 * 10**17, 18 * 10**17)),
        name=f"{random.choice(LOOKS)} {random.choice(WARES[motif])}",
        region=random.choice(REGIONS),
        scene=scene(random, motif=motif, hue=random.random()),
    )


def _post(random: Random, *, motif: str, hue: float) -> SandboxPost:
    plays = round(10 ** random.uniform(2, 6.5))
    likes = round(plays * random.uniform(0.01, 0.2))
    hidden = random.random() < 0.1
    return SandboxPost(
        id=str(random.randint(7 * 10**18, 75 * 10**17)),
        scene=scene(random, motif=motif, hue=hue),
        content_type=random.choice(("video", "video", "video", "image")),
        age_days=round(random.triangular(0, 500, 20)),
        likes=-1 if hidden else likes,
        comments=-1 if hidden else likes // random.randint(10, 60),
        shares=likes // 20,
        plays=plays,
        collects=likes // 15,
    )
