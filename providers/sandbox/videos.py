"""Invents the videos that the sandbox searches, from the posts of the catalogue.

Their shots show the posts' own pictures, so that one picture finds a creator and that creator's videos.
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
    """The post that a video shows from second `start` to second `end`. None: the end is not known."""

    post_id: str
    start: int
    end: int | None


@dataclass(frozen=True)
class SandboxVideo:
    number: str
    name: str
    shots: tuple[Shot, ...]


def public(catalogue: Catalogue) -> dict[str, list[SandboxVideo]]:
    """Returns videos by platform: each post that is a video, compilations of every second creator, teasers of every third."""
    random = Random("the sandbox's videos")
    creators = catalogue.creators
    return {
        "TIKTOK": list(_posted(random, creators)),
        "YOUTUBE": [_video(random, "PI", creator, creator.posts) for creator in creators[::2]],
        "INSTAGRAM": [_video(random, "PI", creator, creator.posts[:2]) for creator in creators[::3]],
    }


def library(catalogue: Catalogue, unique_id: str) -> list[SandboxVideo]:
    """Returns the videos of a private library. Each `unique_id` has its own, which is always the same."""
    random = Random(f"the library {unique_id}")
    return [_video(random, "VI", creator, creator.posts) for creator in random.sample(catalogue.creators, LIBRARY)]


def _posted(random: Random, creators: Iterable[SandboxCreator]) -> Iterator[SandboxVideo]:
    for creator in creators:
        for post in creator.posts:
            if post.content_type == "video":
                # The last shot shows the same picture as the first.
                yield _video(random, "PI", creator, (post, *islice(creator.posts, 2), post))


def _video(random: Random, prefix: str, creator: SandboxCreator, posts: Iterable[SandboxPost]) -> SandboxVideo:
    number = f"{prefix}-{random.randint(10**17, 10**18)}"
    return SandboxVideo(
        number, f"{creator.full_name or creator.username}, part {number[-2:]}", tuple(_shots(random, posts))
    )


def _shots(random: Random, posts: Iterable[SandboxPost]) -> Iterator[Shot]:
    start = random.randint(0, 5)
    for post in posts:
        end = start + random.randint(2, 9)
        yield Shot(post.id, start, None if random.random() < 0.1 else end)
        start = end + random.randint(0, 3)
