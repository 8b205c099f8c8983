"""Download a file, with limits on the time and the number of bytes."""

import contextlib
import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request

# For the connection and for each read: without a network the user must learn it soon.
NETWORK_TIMEOUT_SECONDS = 10
# For a file of up to 27 MB: 90 kB/s are enough. A larger one may take longer in proportion.
FETCH_TIMEOUT_SECONDS = 300
BYTES_IN_TIMEOUT = 27_000_000


class DownloadError(Exception):
    """A file cannot be fetched; the text is the reason."""


def fetch(url: str, max_bytes: int) -> bytes:
    """Return what an address responds with.

    Raises:
        DownloadError: When it cannot be reached, is too slow, or sends more than ``max_bytes``.
    """
    try:
        with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS, context=_tls_context()) as response:
            return _receive(response, max_bytes)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the response, too
        raise DownloadError(str(getattr(error, "reason", None) or error)) from error


def _receive(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    seconds = FETCH_TIMEOUT_SECONDS * max(1, max_bytes // BYTES_IN_TIMEOUT)
    deadline = time.monotonic() + seconds
    received = bytearray()
    while chunk := response.read1(1 << 16):  # read() would wait for a whole chunk
        received += chunk
        if len(received) > max_bytes:
            raise DownloadError(f"the response is longer than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise DownloadError(f"too slow: {len(received)} bytes in {seconds} s")
    return bytes(received)


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if sys.platform == "darwin":
        # Python from python.org does not find the certificates of macOS; TensorFlow's dependencies include a set.
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context
