"""The images of the current request's multipart form, or exactly what the request lacks."""

from collections.abc import Iterator
from typing import NamedTuple

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from fashion.server.service.request_body import IDENTITY, URLENCODED_FORM, content_encoding
from fashion.server.settings import MAX_FORM_PARTS, MAX_TEXT_BYTES

FIELD = "file"
FORM = "multipart/form-data"
READ_BYTES = 64 * 1024
SEND_ONE = f"send an image in the field '{FIELD}' of a {FORM} body"
# What people send who write this header themselves, without the boundary that the HTTP client chose.
LEAVE_THE_HEADER = "do not set this header yourself: the HTTP client writes it"


class FormPart(NamedTuple):
    """A part of a form; ``has_filename`` is whether it came with a file name, as files usually do."""

    field: str | None
    has_filename: bool
    content: bytes


def images() -> list[bytes]:
    """Return the content of each image in the current request's form; a part is one with or without a file name.

    Raises:
        UnsupportedMediaType: If the body is not a multipart form.
        BadRequest: If the form is malformed, or contains no image.
        RequestEntityTooLarge: If the body has too many bytes or parts; the rest of it is not read.
    """
    if content_encoding() != IDENTITY:
        raise UnsupportedMediaType("The request has a Content-Encoding; send its body uncompressed, without one.")
    if request.mimetype not in {FORM, ""}:
        hint = f' In HTML, set enctype="{FORM}"; with curl, use -F.' if request.mimetype == URLENCODED_FORM else ""
        raise UnsupportedMediaType(f"The body must be {FORM}, with an image in the field '{FIELD}'.{hint}")
    parts = list(_parts(*_first_bytes_and_boundary()))
    if not parts:
        raise BadRequest(f"The form is empty; {SEND_ONE}.")
    found = [part for part in parts if part.field == FIELD]
    if not found:
        raise BadRequest(f"The form has no field '{FIELD}'; {SEND_ONE}.")
    if all(_is_text(part.content) and not part.has_filename for part in found):
        raise BadRequest(f"The field '{FIELD}' is text, expected a file; with curl, use -F {FIELD}=@NAME.")
    return [part.content for part in found]


def _first_bytes_and_boundary() -> tuple[bytes, bytes]:
    first = request.stream.read(READ_BYTES)
    if not first:
        raise BadRequest(f"The request has no body; {SEND_ONE}.")
    if not request.mimetype:
        raise BadRequest(f"The request has no Content-Type; {SEND_ONE}.")
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary:
        raise BadRequest(f"The request's Content-Type has no boundary; {LEAVE_THE_HEADER}.")
    return first, boundary.encode()


def _parts(first: bytes, boundary: bytes) -> Iterator[FormPart]:
    """Decode the body's parts; unlike Werkzeug's form parser, those without a file name as bytes too."""
    decoder = MultipartDecoder(boundary, max_parts=MAX_FORM_PARTS)
    field, has_filename, text_bytes = None, False, 0
    received: list[bytes] = []
    data = first
    while True:
        decoder.receive_data(data or None)
        while not isinstance(event := _next_event(decoder), NeedData):
            if isinstance(event, Epilogue):
                return
            if isinstance(event, Field | File):
                field, has_filename = event.name, isinstance(event, File)
            elif isinstance(event, Data):
                received.append(event.data)
                text_bytes += 0 if has_filename or field == FIELD else len(event.data)
                if text_bytes > MAX_TEXT_BYTES:
                    raise RequestEntityTooLarge
                if not event.more_data:
                    yield FormPart(field, has_filename, b"".join(received))
                    received.clear()
        data = request.stream.read(READ_BYTES)


def _next_event(decoder: MultipartDecoder) -> Event:
    state = decoder.state
    try:
        return decoder.next_event()
    except ValueError:  # its message is about the decoder's states
        if not decoder.complete:
            reason = "The form has a part without a valid Content-Disposition header."
        elif state is State.PREAMBLE:
            reason = f"The boundary in the request's Content-Type is not in the body; {LEAVE_THE_HEADER}."
        else:
            reason = "The form is incomplete: its closing boundary is missing; send the whole body."
        raise BadRequest(reason) from None


def _is_text(content: bytes) -> bool:
    """Return whether there are bytes and they are text, as those of no accepted kind of image are."""
    try:
        return bool(content.decode())
    except UnicodeDecodeError:
        return False
