"""How the body of a request is read: in memory, within the limit on its size, and completely."""

import io
from typing import IO, TYPE_CHECKING, Any, cast

from flask import Request, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream

from fashion.server.settings import MAX_BODY_BYTES, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IDENTITY = "identity"  # the Content-Encoding of a body that is not compressed
URLENCODED_FORM = "application/x-www-form-urlencoded"


class LimitedBody(LimitedStream):
    """A body that is refused once it exceeds the limit, with a Content-Length or without.

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


class FormParser(FormDataParser):
    """Werkzeug's parser, which by itself limits the text of multipart forms only.

    It splits all of another form at once: 5 MiB of ``a&a&...`` would become some hundred MB of Python objects.
    """

    def parse(self, stream: IO[bytes], mimetype: str, *args: Any, **kwargs: Any) -> Any:
        """Parse a form.

        Raises:
            RequestEntityTooLarge: If it is too large.
        """
        if mimetype == URLENCODED_FORM:
            stream = cast(IO[bytes], LimitedBody(stream, MAX_TEXT_BYTES, is_max=True))
        return super().parse(stream, mimetype, *args, **kwargs)


class UploadRequest(Request):
    """A request whose uploads stay in memory: a full disk refuses none of them, and no image is written to a disk."""

    form_data_parser_class = FormParser

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
            return cast(IO[bytes], LimitedBody(self.environ["wsgi.input"], MAX_BODY_BYTES, is_max=True))
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
