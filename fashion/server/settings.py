"""What can be set about the server."""

import ipaddress
from typing import Annotated

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

MEBIBYTE = 1024 * 1024

# Limits that no deployment needs to move; the proxy in front of a server can only tighten them.
MOST_BODY_BYTES = 5 * MEBIBYTE
MOST_BATCH_FILES = 64
MOST_FORM_PARTS = 100


class Settings(pydantic.BaseModel):
    """The keys of ``configs/server``.

    Attributes:
        host: Address to listen on; anything but loopback needs accounts of its own.
        port: TCP port; 0 takes a free one.
        processes: Worker processes, each with its own copy of the model; more than one needs ``redis_url``.
        threads: Requests whose pictures one process decodes at the same time.
        queue: Requests that may wait beside them, for that or for the model; one more is answered 503 at once.
        request_seconds: A request that has not arrived completely by then is given up.
        database_url: Accounts, tokens and the request log, as an SQLAlchemy URL.
        redis_url: Where several processes count failed log-ins together; null counts in memory.
        trusted_proxies: Reverse proxies in front, whose X-Forwarded-For, -Proto and -Host are believed.
        allowed_hosts: Host names to answer to (``.example.org`` with its subdomains); empty answers to any.
        keep_pictures: Whether pictures sent on the page are kept in the database, for their owner and for admins.
        keep_pictures_days: How long, in days.
        keep_pictures_mebibytes: How much of them in all; beyond that the oldest go.
    """

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, lt=65536)]
    processes: PositiveInt
    threads: Annotated[int, Field(ge=1, le=256)]
    queue: NonNegativeInt
    request_seconds: PositiveInt
    database_url: Annotated[str, Field(min_length=1)]
    redis_url: str | None
    trusted_proxies: NonNegativeInt
    allowed_hosts: list[str]
    keep_pictures: bool
    keep_pictures_days: Annotated[int, Field(ge=1, le=3650)]
    keep_pictures_mebibytes: PositiveInt

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server: a loopback address, and no proxy that passes others on."""
        if self.trusted_proxies:
            return False
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
