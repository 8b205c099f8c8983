"""Pictures out of a multipart form, within limits."""

import hashlib
import io
from typing import IO, NamedTuple

from flask import Request, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, UnprocessableEntity, UnsupportedMediaType

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing import decode
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import prepare
from fashion.server.service.admission import work
from fashion.server.service.monitoring import monitor

FIELD = "file"
FORM = "multipart/form-data"
# Up to 15 bytes a pixel are needed (WebP; PNG 7): 30 MB for one of these, 380 MB for the largest that is taken.
LARGE_PIXELS = 2_000_000


class InMemoryRequest(Request):
    """A request whose uploads stay in memory: a full disk refuses none of them, and no picture ever lies on one."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


class Upload(NamedTuple):
    """A prepared picture, and the digest of the bytes it came in."""

    prepared: ModelInput
    sha256: str


def files() -> list[FileStorage]:
    """Return the parts named ``file`` of the request's form; their file names are the client's and are never used.

    Raises:
        UnsupportedMediaType: When the body is not a multipart form.
        BadRequest: When there is no such part.
        RequestEntityTooLarge: When the body has more bytes or parts than allowed; the rest of it is not read.
    """
    if request.mimetype not in {FORM, ""}:
        raise UnsupportedMediaType(f"The body must be {FORM}, with a picture in the field '{FIELD}'.")
    found = request.files.getlist(FIELD)
    if not found:
        raise BadRequest(f"No picture came; send one in the field '{FIELD}' of a {FORM} body.")
    return found


def read(file: FileStorage) -> Upload:
    """Decode and prepare one picture.

    Raises:
        BadRequest: When it is empty.
        UnsupportedMediaType: When it is not a PNG, JPEG or WebP file.
        UnprocessableEntity: When it is damaged, an animation, or too large.
    """
    content = file.stream.read()
    if not content:
        raise BadRequest("The picture is empty.")
    try:
        picture = decode.open_checked(content)
        with work().large(picture.width * picture.height > LARGE_PIXELS):
            with monitor().stage("decode"):
                decode.load(picture)
            with monitor().stage("preprocess"):
                prepared = prepare(picture)
            del picture  # its memory, before the next large one takes its place
    except UnsupportedImageError as error:
        raise UnsupportedMediaType(f"The file {error}.") from None
    except InvalidImageError as error:
        raise UnprocessableEntity(f"The picture {error}.") from None
    return Upload(prepared, hashlib.sha256(content).hexdigest())
