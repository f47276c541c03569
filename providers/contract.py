"""What an adapter is: the words that providers and the rest of Sightline exchange.

An adapter turns a `Question` into one HTTP request and the reply into an `Answer`, or raises one `Failure`. It knows no
tenants, no tables, no clock. An adapter
classifies what went wrong; `searches.calls` decides what follows (`providers.failures` has the tree).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from providers.http import ProviderClient
    from providers.limiter import Token
    from providers.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """The largest rendering that a source takes: Pillow format names, best first; bytes of the file as sent."""

    formats: tuple[str, ...]
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class PolicyDefaults:
    """What the provider's documents say of its limit; operators change the row, never this."""

    calls: int
    window_ms: int
    guard_ms: Decimal
    page_size: int
    attempts: int
    # How long a key rests after a 429 that does not say; 0: 1, 2, 4, 8 s.
    throttled_seconds: int = 0
    max_in_flight: int = 12
    connect_timeout_ms: int = 5_000
    write_timeout_ms: int = 10_000
    read_timeout_ms: int = 30_000
    total_timeout_ms: int = 30_000


@dataclass(frozen=True, kw_only=True)
class PriceDefaults:
    """In the provider's own credits."""

    per_call: Decimal = Decimal(0)
    per_result: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A rendering ready to send. Its bytes stay out of every repr."""

    content: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """One page of a lookup. `parameters` are as the tenant gave them, already checked by the adapter's `Parameters`."""

    picture: Picture
    parameters: Mapping[str, Any]
    page: int
    page_size: int


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A provider key on its way into a request header."""

    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class KeyForm:
    """How a provider's keys look by its documents. Another form is a reason to warn, and never to refuse."""

    begins: str

    def warning(self, secret: Secret, *, provider: str) -> str:
        """Returns a sentence for the key's owner; empty where the key looks as it should."""
        if secret.value.startswith(self.begins):
            return ""
        return f"Keys to {provider} begin with {self.begins} by its documents, and this one does not; it is tried all the same."


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One thing that an adapter found. `raw` is the provider's own object, `detail` what its `type` has beside the common fields:
    creator   username, followers_count, engagement_rate, views_count_median, account_category, matched_posts, recent_posts
    product   product_id, name, region, source_image
    video     video_no, name, platform, moments: each of start_seconds, end_seconds, score
    Of these an `external_id` alone is always there; what a provider left out or garbled is None.
    """

    type: str
    external_id: str
    title: str
    url: str | None = None
    image_url: str | None = None
    score: float | None = None
    detail: Mapping[str, Any]
    raw: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One page as it came: `billed_results` is what the provider counts, `last` whether asking on can bring more.

    `unreadable`: items that were billed and have no identity that can be read; `excerpt`: the beginning of them, at most 2 kB,
    for operators only.
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
    """What a provider tells of a key's account: its credits that are left, and other limits in its own words."""

    credits: Decimal | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A line of a provider's dictionary. `value` is what a search's parameter takes."""

    value: int | str
    name: str
    title: str = ""


class FreeCalls(ABC):
    """What a provider answers for nothing, beside its sources; most offer none. Stateless, and fails as adapters do."""

    provider: ClassVar[str]

    @abstractmethod
    def account(self, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> ProviderAccount:
        """Whether the provider takes this key, and what it tells of its account."""

    def dictionaries(self) -> tuple[str, ...]:
        """Their names; those that can be asked now."""
        return ()

    def dictionary(
        self, name: str, query: str, *, secret: Secret, base_url: str, client: ProviderClient, token: Token
    ) -> tuple[Term, ...]:
        """The terms of one of them that match; an empty query matches all."""
        raise LookupError(name)


class Adapter(ABC):
    """One source. Subclasses are stateless; `registry` holds one instance of each."""

    provider: ClassVar[str]
    source: ClassVar[str]
    result_type: ClassVar[str]
    title: ClassVar[str]
    # Where the provider is, unless a setting says otherwise: MODASH_BASE_URL, and so on by its name.
    base_url: ClassVar[str]
    sandbox_path: ClassVar[str]
    parameters: ClassVar[type[Parameters]]
    picture_limits: ClassVar[PictureLimits]
    policy: ClassVar[PolicyDefaults]
    price: ClassVar[PriceDefaults]
    default_limit: ClassVar[int | None]
    max_results: ClassVar[int | None]
    # Whether it can be asked for a later page; where it cannot, a lookup is one call and takes no offset.
    paged: ClassVar[bool] = False
    # Whether it searches what belongs to the account of the key that asks, and not what everyone sees.
    own_library: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float] | None] = None
    caveats: ClassVar[tuple[str, ...]] = ()
    # How far its data are behind, in a sentence.
    lag: ClassVar[str] = ""
    # How keys to its provider look, where that is documented.
    key_form: ClassVar[KeyForm | None] = None

    @property
    def base_url_setting(self) -> str:
        return f"{self.provider.upper()}_BASE_URL"

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as the provider will understand them, rounding included."""
        return dict(parameters)

    def deciding(self, effective: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the effective parameters that can change the answer: lookups that are equal in them ask for the same."""
        return effective

    @abstractmethod
    def ask(self, question: Question, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> Answer:
        """Makes one call; raises a `Failure`."""
