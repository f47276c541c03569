"""Defines what an adapter is, and the values that adapters and the rest of Sightline exchange.

An adapter turns a `Question` into one HTTP request, and the reply into an `Answer` or one `Failure`. It knows no tenants, no
tables and no clock. An adapter classifies a failure, and `searches.calls` decides what follows from it
(`providers.failures`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from providers.web_addresses import web_address

if TYPE_CHECKING:
    import httpx

    from accounts.web.strict_fields import StrictSerializer
    from providers.http import ProviderClient, Reply
    from providers.limiter import Token


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """The picture files that a source accepts. `formats`: Pillow's names, best first. `max_bytes`: of the file as it is sent."""

    formats: tuple[str, ...]
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class PolicyDefaults:
    """The limits that a provider's documents state. Operators change the policy's row, never these."""

    calls: int
    window_ms: int
    guard_ms: Decimal
    page_size: int
    attempts: int
    # Seconds that a key rests after a 429 without Retry-After. 0: 1, 2, 4, 8 s.
    throttled_seconds: int = 0
    max_in_flight: int = 12
    connect_timeout_ms: int = 5_000
    write_timeout_ms: int = 10_000
    read_timeout_ms: int = 30_000
    total_timeout_ms: int = 30_000


@dataclass(frozen=True, kw_only=True)
class PriceDefaults:
    """The price of a call, in the provider's own credits."""

    per_call: Decimal = Decimal(0)
    per_result: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file that is ready to send. Its bytes are in no repr."""

    content: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """One page of a lookup. `parameters`: as the tenant gave them, checked by the adapter's serializer."""

    picture: Picture
    parameters: Mapping[str, Any]
    page: int
    page_size: int


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A provider key on its way into a request header."""

    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Access:
    """Holds what one call is made with: a key, the provider's address, a client, and the token without which it sends nothing."""

    secret: Secret
    base_url: str
    client: ProviderClient
    token: Token

    def url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"

    def send(self, request: httpx.Request) -> Reply:
        return self.client.send(request, token=self.token)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One thing that an adapter found. `raw` is the provider's own object. `detail` has the fields of the `type`:

        creator   username, followers_count, engagement_rate, views_count_median, account_category, matched_posts, recent_posts
        product   product_id, name, region, source_image
        video     video_no, name, platform, moments (each: start_seconds, end_seconds, score)

    Every field but `external_id` is None if the provider left it out or garbled it. So is an address that is no link.
    """

    type: str
    external_id: str
    title: str
    url: str | None = None
    image_url: str | None = None
    score: float | None = None
    detail: Mapping[str, Any]
    raw: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("url", "image_url"):
            object.__setattr__(self, name, web_address(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One page of results.

    `billed_results`: as many as the provider counts. `last`: no later page can have more. `unreadable`: items that were
    billed and have no readable identity. `excerpt`: the beginning of those, at most 2 kB, for operators only.
    """

    hits: tuple[Hit, ...]
    billed_results: int
    total: int | None = None
    last: bool
    status: int
    request_id: str = ""
    unreadable: int = 0
    excerpt: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderAccount:
    """The account of a key, as the provider describes it: the credits left, and other limits in the provider's words.

    `requests`: the provider's count of requests. Its documents do not say of which, nor whether the count rises or falls.
    """

    credits: Decimal | None = None
    requests: int | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A line of a provider's dictionary. `value` is the value for a search's parameter."""

    value: int | str
    name: str
    title: str = ""


class Adapter(ABC):
    """One source. Subclasses are stateless, and `registry` has one instance of each."""

    provider: ClassVar[str]
    source: ClassVar[str]
    result_type: ClassVar[str]
    title: ClassVar[str]
    # The provider's address, unless the setting <PROVIDER>_BASE_URL names another.
    base_url: ClassVar[str]
    sandbox_path: ClassVar[str]
    parameters: ClassVar[type[StrictSerializer]]
    picture_limits: ClassVar[PictureLimits]
    policy: ClassVar[PolicyDefaults]
    price: ClassVar[PriceDefaults]
    default_limit: ClassVar[int | None]
    max_results: ClassVar[int | None]
    # Whether later pages can be asked for. If not, a lookup is one call and takes no offset.
    paged: ClassVar[bool] = False
    # Whether the source searches the library of the key's own account, instead of public data.
    own_library: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float] | None] = None
    caveats: ClassVar[tuple[str, ...]] = ()
    # A sentence that says how old the data may be.
    lag: ClassVar[str] = ""
    # How the provider's keys begin by its documents. A key that begins otherwise gets a warning, and is never refused.
    key_prefix: ClassVar[str] = ""

    @property
    def base_url_setting(self) -> str:
        return f"{self.provider.upper()}_BASE_URL"

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters as the provider will understand them, rounding included."""
        return dict(parameters)

    def deciding(self, effective: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the effective parameters that can change the answer. Lookups that are equal in these are the same question."""
        return effective

    @abstractmethod
    def ask(self, question: Question, access: Access) -> Answer:
        """Makes one call. Raises a `Failure`."""
