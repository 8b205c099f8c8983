"""Compressed bodies of requests and responses: gzip and deflate, as clients of Triton use them."""

import gzip
import zlib

from flask import Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from fashion.server.service.request_body import IDENTITY, content_encoding
from fashion.server.settings import MAX_BODY_BYTES

# zlib's parameter wbits for each Content-Encoding; "deflate" is zlib's own format (RFC 9110).
FORMATS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
MIN_COMPRESSED_BYTES = 1024  # smaller responses fit in a network packet as they are


def decompressed(body: bytes) -> bytes:
    """Decompress the current request's body.

    Args:
        body: As it was received.

    Raises:
        UnsupportedMediaType: If its Content-Encoding is another.
        BadRequest: If it is damaged.
        RequestEntityTooLarge: If it is larger than a body may be; the rest of it is not decompressed.
    """
    encoding = content_encoding()
    if encoding == IDENTITY:
        return body
    if encoding not in FORMATS:
        raise UnsupportedMediaType("The body's Content-Encoding is not supported, expected gzip or deflate.")
    decoder = zlib.decompressobj(FORMATS[encoding])
    try:
        content = decoder.decompress(body, MAX_BODY_BYTES + 1)
        complete = decoder.eof and not decoder.unused_data
    except zlib.error:
        content, complete = b"", False
    if len(content) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if not complete:
        raise BadRequest(f"The Content-Encoding is {encoding}, but the body is not a complete {encoding} stream.")
    return content


def compress(response: Response) -> Response:
    """Compress a response's body, if the client accepts that and it is not tiny."""
    response.vary.add("Accept-Encoding")
    encoding = request.accept_encodings.best_match([*FORMATS, IDENTITY])
    if encoding not in FORMATS or len(response.data) < MIN_COMPRESSED_BYTES:
        return response
    response.data = gzip.compress(response.data) if encoding == "gzip" else zlib.compress(response.data)
    response.headers["Content-Encoding"] = encoding
    return response
