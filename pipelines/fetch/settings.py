"""What fetching is told: what to store, how long to wait, how much to take, how polite to be."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pipelines.fetch.guard import parse_resolver
from pipelines.fetch.politeness import HostLimit, Politeness
from quality.evidence.original import model_of
from quality.images.convert import Target
from quality.images.header import MAX_PIXELS

USER_AGENT: Final = "pigment/0.1"
OPTOUTS: Final = ("obey", "record")
FETCHERS: Final = ("pigment", "img2dataset")
_PRODUCT: Final = re.compile(r"[A-Za-z_-]+")  # RFC 9309, 2.2.1
_CONTACT: Final = re.compile(
    r"[!-'*-~]+@[!-'*-~]+\.[!-'*-~]+|https?://[!-'*-~]+"
)  # no spaces or brackets: it stands in a comment of the header


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """fetcher: what asks for the images and converts them: our own engine, or img2dataset (pipelines.fetch.img2dataset_fetcher).

    store: keep the bytes as they came, or converted to `target` (img2dataset's way).

    evidence: read what the bytes as they came say of their origin, which resized ones do not say any more. trust_anchors: for that, PEM of
    the C2PA trust list (quality.evidence.manifest.read_anchors); None: nobody is trusted.
    connect_timeout_s: to resolve a name, and to connect. image_timeout_s: for one image, redirects and retries included, from its first
    request on.
    unit_timeout_s: for one unit, from its first request on; a unit that still stores 1 % of its rows in a tenth of that time goes on.
    retries: further attempts after 408, 425, 429, 5xx and network errors, `backoff_s` apart, doubled each time, with jitter.
    max_bytes: of one image, after Content-Encoding is undone. max_pixels: width times height that a header may announce.
    connections: open requests of one process. connections_per_host, rate_per_host: open requests, and requests a second (None: no bound), of
    all `workers` processes together, of which each takes its share; hosts: those with other limits.
    optouts: obey, or only record, what sites and files say of mining. user_agent: product and version, whose product is what robots.txt
    calls us. contact: an address that a site's owner can write to; without one nobody is asked but this machine and hosts of `host_map`.
    resolver: address, or address:port, of the name server to ask; None: as the system does.
    allow_private_hosts: also connect to addresses that are not public. host_map: a JSON file {"host": "address:port"}; it alone passes the
    address guard. units_ahead: units in flight. threads: that hash and convert; None for cores / workers.
    """

    fetcher: Literal["pigment", "img2dataset"] = "pigment"
    store: Literal["original", "resized"] = "original"
    target: Target | None = None
    evidence: bool = False
    trust_anchors: str | None = None
    max_bytes: int = 50_000_000
    max_pixels: int = MAX_PIXELS
    connect_timeout_s: float = 5.0
    image_timeout_s: float = 30.0
    unit_timeout_s: float = 300.0
    retries: int = 2
    backoff_s: float = 0.5
    max_redirects: int = 5
    connections: int = 64
    connections_per_host: int = 8
    rate_per_host: float | None = None
    hosts: tuple[HostLimit, ...] = ()
    workers: int = 1
    optouts: Literal["obey", "record"] = "obey"
    user_agent: str = USER_AGENT
    contact: str | None = None
    resolver: str | None = None
    allow_private_hosts: bool = False
    host_map: str | None = None
    units_ahead: int = 8
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.fetcher not in FETCHERS:
            raise ValueError(f"fetcher is {self.fetcher!r}; it can be {' or '.join(map(repr, FETCHERS))}")
        if self.store not in ("original", "resized"):
            raise ValueError(f"store is {self.store!r}; it can be 'original' or 'resized'")
        if (self.store == "resized") != (self.target is not None):
            raise ValueError("store 'resized' needs a target, and only it takes one")
        if self.evidence and self.store != "resized":
            raise ValueError("evidence is read while fetching for store 'resized' only; other bytes are kept, and can be read again")
        if self.trust_anchors is not None and not self.evidence:
            raise ValueError("trust_anchors are for evidence, which is not read")
        if self.optouts not in OPTOUTS:
            raise ValueError(f"optouts is {self.optouts!r}; it can be {' or '.join(map(repr, OPTOUTS))}")
        if _PRODUCT.match(self.user_agent) is None or not self.user_agent.isprintable() or not self.user_agent.isascii():
            raise ValueError(f"user_agent is {self.user_agent!r}; it has to begin with a name of letters, - and _, as in {USER_AGENT}")
        if self.contact is not None and _CONTACT.fullmatch(self.contact) is None:
            raise ValueError(f"contact is {self.contact!r}; write an e-mail address or an http(s) url at which you can be reached")
        if self.resolver is not None:
            parse_resolver(self.resolver)
        for name in ("max_bytes", "max_pixels", "connections", "connections_per_host", "units_ahead", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("connect_timeout_s", "image_timeout_s", "unit_timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("retries", "max_redirects", "backoff_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.rate_per_host is not None and not self.rate_per_host > 0:
            raise ValueError(f"rate_per_host is {self.rate_per_host}; it must be above 0, or None for no bound")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; it must be at least 1, or None")
        if self.workers > self.politeness.most_workers:
            raise ValueError(
                f"{self.workers} workers cannot share {self.politeness.most_workers} connections to a host: each needs one; "
                "fetch with fewer workers (--fetch_workers), or allow more connections (--connections_per_host, --hosts)"
            )

    @property
    def agent(self) -> str:
        """The product token that robots.txt and X-Robots-Tag call us by."""
        found = _PRODUCT.match(self.user_agent)
        assert found is not None
        return found[0].lower()

    @property
    def header(self) -> str:
        """The User-Agent of every request."""
        return f"{self.user_agent} (text-image data sets{'' if self.contact is None else f'; {self.contact}'})"

    @property
    def politeness(self) -> Politeness:
        """The limits of hosts, and this process's share of them."""
        return Politeness(connections=self.connections_per_host, rate=self.rate_per_host, hosts=self.hosts, workers=self.workers)

    def as_dict(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """What changes stored bytes, as JSON values: of two runs that differ elsewhere, the same answers give the same pool."""
        return {
            "store": self.store,
            "target": None if self.target is None else asdict(self.target),
            "max_bytes": self.max_bytes,
            "max_pixels": self.max_pixels,
            "optouts": self.optouts,
            **({"fetcher": self.fetcher} if self.fetcher != FETCHERS[0] else {}),
            # Left out where it is not read, as it was before it could be: it is part of what a unit was made from.
            **({"evidence": model_of(self.trust_anchors)} if self.evidence else {}),
        }
