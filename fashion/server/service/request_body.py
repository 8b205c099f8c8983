"""How the body of a request is read: in memory, within the limit on its size, and completely."""

import io
from typing import IO, TYPE_CHECKING, cast

from flask import Request, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream

from fashion.server.settings import MAX_BODY_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IDENTITY = "identity"  # the Content-Encoding of a body that is not compressed


class ChunkedBody(LimitedStream):
    """A body without a Content-Length, which is refused once it exceeds the limit.

    Werkzeug's own stream ends at the limit like a complete body when it is read at once, and refuses a body of exactly
    the limit when it is read in pieces.
    """

    def on_exhausted(self) -> None:
        """Refuse the body if it goes on at the limit.

        Raises:
            RequestEntityTooLarge: If it does; the rest of it is not read.
        """
        if self._stream.read(1):
            raise RequestEntityTooLarge

    def readall(self) -> bytes:
        """Return the whole body.

        Raises:
            RequestEntityTooLarge: If it exceeds the limit.
        """
        body = super().readall()
        if self.is_exhausted:
            self.on_exhausted()
        return body


class UploadRequest(Request):
    """A request whose uploads stay in memory: a full disk refuses none of them, and no image is written to a disk."""

    def __init__(self, environ: "WSGIEnvironment", populate_request: bool = True, shallow: bool = False) -> None:
        super().__init__(environ, populate_request, shallow)
        # Lets Werkzeug notice a body that is shorter than its Content-Length, instead of relying on gunicorn for that,
        # which does not check.
        if self.content_length is not None:
            environ.pop("wsgi.input_terminated", None)

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body, of which at most ``MAX_BODY_BYTES`` can be read."""
        if "wsgi.input_terminated" in self.environ:
            return cast(IO[bytes], ChunkedBody(self.environ["wsgi.input"], MAX_BODY_BYTES, is_max=True))
        return super().stream

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


def content_encoding() -> str:
    """Return how the current request's body is compressed, in lower case; ``identity`` where it is not."""
    return request.headers.get("Content-Encoding", IDENTITY).strip().lower()
