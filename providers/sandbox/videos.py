"""The videos that the sandbox searches: what its creators posted, moving. Their shots show the posts' own pictures, so that a
picture finds a creator and the videos too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from providers.sandbox.catalogue import Catalogue, SandboxCreator, SandboxPost

LIBRARY = 120


@dataclass(frozen=True)
class Shot:
    """What is to be seen from second `start` to `end`, which is not always known."""

    post_id: str
    start: int
    end: int | None


@dataclass(frozen=True)
class SandboxVideo:
    number: str
    name: str
    shots: tuple[Shot, ...]


def public(catalogue: Catalogue) -> dict[str, list[SandboxVideo]]:
    """By platform: each post that is a video, compilations of every second creator, teasers of every third."""
    chance = Random("the sandbox's videos")
    creators = catalogue.creators
    return {
        "TIKTOK": list(_posted(chance, creators)),
        "YOUTUBE": [_video(chance, "PI", creator, creator.posts) for creator in creators[::2]],
        "INSTAGRAM": [_video(chance, "PI", creator, creator.posts[:2]) for creator in creators[::3]],
    }


def library(catalogue: Catalogue, unique_id: str) -> list[SandboxVideo]:
    """Somebody's own: every name has another one, and always the same."""
    chance = Random(f"the library {unique_id}")
    return [_video(chance, "VI", creator, creator.posts) for creator in chance.sample(catalogue.creators, LIBRARY)]


def _posted(chance: Random, creators: Iterable[SandboxCreator]) -> Iterator[SandboxVideo]:
    for creator in creators:
        for post in creator.posts:
            if post.content_type == "video":
                # It returns to what it began with.
                yield _video(chance, "PI", creator, (post, *islice(creator.posts, 2), post))


def _video(chance: Random, prefix: str, creator: SandboxCreator, posts: Iterable[SandboxPost]) -> SandboxVideo:
    number = f"{prefix}-{chance.randint(10**17, 10**18)}"
    return SandboxVideo(
        number, f"{creator.full_name or creator.username}, part {number[-2:]}", tuple(_shots(chance, posts))
    )


def _shots(chance: Random, posts: Iterable[SandboxPost]) -> Iterator[Shot]:
    start = chance.randint(0, 5)
    for post in posts:
        end = start + chance.randint(2, 9)
        yield Shot(post.id, start, None if chance.random() < 0.1 else end)
        start = end + chance.randint(0, 3)
