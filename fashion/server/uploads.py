"""Pictures out of a multipart form, within limits."""

import hashlib
from typing import NamedTuple

from flask import request
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, UnprocessableEntity, UnsupportedMediaType

from fashion.inference import photo
from fashion.server.monitoring import monitor

FIELD = "file"
FORM = "multipart/form-data"


class Upload(NamedTuple):
    """A prepared picture, and the digest of the bytes it came in."""

    prepared: photo.Prepared
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
    file.stream.seek(0)
    try:
        with monitor().stage("decode"):
            picture: Image.Image = photo.decode(file.stream)
        with monitor().stage("preprocess"):
            prepared = photo.prepare(picture)
    except photo.UnknownFormatError as error:
        raise UnsupportedMediaType(f"The file {error}.") from None
    except photo.BadPictureError as error:
        raise UnprocessableEntity(f"The picture {error}.") from None
    return Upload(prepared, hashlib.sha256(content).hexdigest())
