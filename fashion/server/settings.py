"""The server's settings, and the fixed limits on requests."""

import ipaddress
from typing import Annotated, Literal, TypeAlias

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

from fashion.backend.selection import Runtime

MEBIBYTE = 1024 * 1024

# No deployment needs larger limits; a reverse proxy can set smaller ones.
MAX_BODY_BYTES = 5 * MEBIBYTE
MAX_BATCH_FILES = 64
MAX_FORM_PARTS = 100
# All text fields of a form, whatever its encoding.
MAX_TEXT_BYTES = 128 * 1024


Platform: TypeAlias = Literal["sagemaker", "vertex"]


class Settings(pydantic.BaseModel):
    """The keys of ``configs/server``.

    Attributes:
        host: Address to listen on; any but a loopback address requires accounts of your own.
        port: TCP port; 0 picks a free one.
        runtime: What computes predictions: Keras, or ONNX Runtime, with the file that ``scripts/export.py`` writes;
            ``auto`` chooses ONNX Runtime where possible.
        processes: Worker processes, each with its own copy of the model; more than one needs ``redis_url``.
        threads: Images that one process decodes at the same time.
        queue: Further requests that may wait to be decoded or for the model; any more are answered 503 at once.
        request_seconds: Time limit for a request to arrive completely, and for its response to be read.
        database_url: Database of accounts, tokens, the request log and the prediction history, as an SQLAlchemy URL.
        redis_url: Redis in which several processes count failed log-ins together; null counts in memory.
        trusted_proxies: Number of reverse proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted.
        platform: Cloud platform whose health checks and predictions are answered without a log-in; null for none.
        allowed_hosts: Host names that the server answers to (``.example.org`` includes subdomains); empty allows any.
        keep_images: Whether images uploaded on the page are stored, for their owner and admins.
        keep_images_days: Days until a stored image is deleted.
        keep_images_mebibytes: Space for all stored images; the oldest are deleted first.
    """

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, lt=65536)]
    runtime: Runtime | Literal["auto"]
    processes: PositiveInt
    threads: Annotated[int, Field(ge=1, le=256)]
    queue: NonNegativeInt
    request_seconds: PositiveInt
    database_url: Annotated[str, Field(min_length=1)]
    redis_url: str | None
    trusted_proxies: NonNegativeInt
    platform: Platform | None
    allowed_hosts: list[str]
    keep_images: bool
    keep_images_days: Annotated[int, Field(ge=1, le=3650)]
    keep_images_mebibytes: PositiveInt

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server: a loopback address without a proxy in front."""
        return not self.trusted_proxies and is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone: localhost, or a loopback address without brackets and port."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
