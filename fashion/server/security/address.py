"""The address that a client used: which host it asked for, and what proxies say about it."""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.exceptions import BadRequest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map
from werkzeug.wsgi import get_host

from fashion.server.settings import is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# RFC 9112: the host and the optional port of a URI. Also names with an underscore, as containers have.
HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{0,5}))?")
PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")  # without the segments . and ..
# An IPv6 address in brackets, or an IPv4 address, each with the port that some proxies append.
ADDRESS_AND_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}")
MAX_PORT = 65535
# Load balancers probe an address and cannot send the Host header of a site; these answers contain no link.
HEALTH_ENDPOINTS = {"health.livez", "health.readyz", "health.v2_live", "health.v2_ready", "platform.health"}


def init_app(app: Flask, trusted_proxies: int, allowed_hosts: list[str]) -> None:
    """Let an application see the address that its clients used, and refuse what is none.

    Args:
        app: The application.
        trusted_proxies: Number of reverse proxies whose X-Forwarded-* headers are trusted.
        allowed_hosts: Host names that it answers to, except for probes; empty allows any.
    """
    app.before_request(_refuse_malformed_address)
    if allowed_hosts:
        app.before_request(functools.partial(_refuse_other_hosts, allowed_hosts))
    app.wsgi_app = _remove_prefix(app.wsgi_app, app.url_map)  # type: ignore[assignment]
    if trusted_proxies:
        fixed = ProxyFix(
            _check_address(app.wsgi_app),
            x_for=trusted_proxies,
            x_proto=1,  # of what _outermost leaves
            x_host=1,
            x_prefix=1,  # the nearest proxy's, since usually only one of several sets it
        )
        app.wsgi_app = _outermost(fixed, trusted_proxies)  # type: ignore[assignment]


def names_loopback(host: str) -> bool:
    """Return whether a Host header names this machine alone: localhost or a loopback address, with any port."""
    return is_loopback(host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0])


def _refuse_malformed_address() -> None:
    """Refuse a request whose Host or X-Forwarded-Prefix cannot be part of a URL.

    Raises:
        BadRequest: If the Host header is missing or malformed, or the prefix is malformed.
    """
    host = request.environ.get("HTTP_HOST")
    if host is None and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        raise BadRequest("The request has no Host header.")
    if host is not None:
        found = HOST.fullmatch(host)
        if found is None or int(found[1] or 0) > MAX_PORT:
            raise BadRequest("The Host header is not a host name or address with an optional port.")
    if not PREFIX.fullmatch(request.root_path):
        raise BadRequest("The X-Forwarded-Prefix header is not a path such as /fashion.")


def _refuse_other_hosts(allowed_hosts: list[str]) -> None:
    """Refuse a request for a host that this server is not, unless it asks for its health.

    Raises:
        SecurityError: If the host is another.
    """
    if request.endpoint not in HEALTH_ENDPOINTS:
        get_host(request.environ, allowed_hosts)


def _outermost(application: "WSGIApplication", trusted_proxies: int) -> "WSGIApplication":
    """Reduce X-Forwarded-Proto and -Host to what the outermost trusted proxy says that its client used.

    Every proxy appends to X-Forwarded-For. To these two, some append a value, and others replace all values by one, in
    whatever order they follow each other. The values of trusted proxies are therefore the last ones, as many as there
    are proxies or fewer, and the first of those is the outermost's. A client can choose it only if some proxy neither
    appends nor replaces, by sending as many values as there are proxies.
    """

    def reduced(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        for name in ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"):
            if name in environ:
                environ[name] = environ[name].split(",")[-trusted_proxies:][0].strip()
        return application(environ, start_response)

    return reduced


def _check_address(application: "WSGIApplication") -> "WSGIApplication":
    """Reduce what a trusted proxy forwarded to an IP address; what is none becomes the proxy's own address."""

    def checked(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        forwarded = environ.get("REMOTE_ADDR", "")
        found = ADDRESS_AND_PORT.fullmatch(forwarded)
        try:
            address = ipaddress.ip_address((found[1] or found[2]) if found else forwarded)
            environ["REMOTE_ADDR"] = str(address).partition("%")[0]  # the zone is a name on the proxy's machine
        except ValueError:
            environ["REMOTE_ADDR"] = environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]
        return application(environ, start_response)

    return checked


def _remove_prefix(application: "WSGIApplication", routes: Map) -> "WSGIApplication":
    """Remove the prefix from the path, for a proxy that says which one it serves but passes paths on as they are.

    Below a prefix such as /login, a path that begins with it may also be one from which the proxy removed the prefix.
    Such a path remains as it is if it is one of this server's, unless the rest of it is one, too: no path of this
    server consists of its own first part and another of its paths.
    """
    server = routes.bind("localhost")

    def removed(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        prefix, path = environ.get("SCRIPT_NAME", "").rstrip("/"), environ.get("PATH_INFO", "")
        environ["SCRIPT_NAME"] = prefix
        rest = path.removeprefix(prefix)
        has_prefix = prefix and (path == prefix or path.startswith(f"{prefix}/"))
        if has_prefix and (not server.allowed_methods(path) or (rest and server.allowed_methods(rest))):
            environ["PATH_INFO"] = rest
        return application(environ, start_response)

    return removed
