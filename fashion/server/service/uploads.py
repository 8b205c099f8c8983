"""From the bytes of an uploaded image to what the model sees, within limits on time and memory."""

import hashlib
from typing import NamedTuple

from PIL import Image
from werkzeug.exceptions import BadRequest, UnprocessableEntity, UnsupportedMediaType

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing import decode, rgb
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import decode_side, prepare
from fashion.server.service.admission import AdmissionControl
from fashion.server.service.monitoring import Monitor

# Decoding takes up to 15 bytes per pixel (WebP; AVIF and HEIC 13, PNG 7): 30 MB for this size, 380 MB for the largest
# accepted one.
LARGE_PIXELS = 2_000_000
# Of a thumbnail's longest side: with 504 of 512 pixels, a photo of 12 megapixels is not decoded twice (30 ms).
MIN_THUMBNAIL_SHARE = 0.9


class Upload(NamedTuple):
    """An uploaded image, ready for the model.

    Attributes:
        model_input: What the model sees.
        sha256: Digest of the uploaded bytes.
        thumbnail: A small upright RGB copy, where one was asked for.
    """

    model_input: ModelInput
    sha256: str
    thumbnail: Image.Image | None


def read(
    content: bytes,
    spec: InputSpec,
    admission: AdmissionControl,
    monitor: Monitor,
    thumbnail_side: int | None = None,
) -> Upload:
    """Decode and preprocess an image, within a decode slot.

    Args:
        content: The uploaded bytes.
        spec: What the model takes.
        admission: Limits how many large images are decoded at the same time.
        monitor: Measures the stages.
        thumbnail_side: Longest side of the thumbnail in pixels; None for no thumbnail.

    Raises:
        BadRequest: If there are no bytes.
        UnsupportedMediaType: If they are of no format that is read.
        UnprocessableEntity: If the image is damaged, an animation, or too large.
    """
    if not content:
        raise BadRequest("The image is empty.")
    try:
        opened = decode.open_checked(content)
        with admission.large_image_slot(opened.pixels > LARGE_PIXELS):
            with monitor.stage("decode"):
                image = decode.load(opened, decode_side(spec))
            with monitor.stage("preprocess"):
                model_input = prepare(image, spec)
            thumbnail = _thumbnail(image, content, thumbnail_side) if thumbnail_side else None
            del opened, image  # frees their memory before the next large image takes the slot
    except UnsupportedImageError as error:
        raise UnsupportedMediaType(f"The file {error}.") from None
    except InvalidImageError as error:
        raise UnprocessableEntity(f"The image {error}.") from None
    return Upload(model_input, hashlib.sha256(content).hexdigest(), thumbnail)


def _thumbnail(image: Image.Image, content: bytes, side: int) -> Image.Image:
    """Return an upright RGB copy with nothing of the file but its pixels.

    The image is decoded once for the model and the thumbnail. Only a large JPEG is decoded again, where the thumbnail
    needs more pixels than the model: decoding it at that size at once would change what the model sees.
    """
    if max(image.size) < min(MIN_THUMBNAIL_SHARE * side, max(image.info[decode.ORIGINAL_SIZE])):
        image = decode.load(decode.open_checked(content), side)
    small = rgb.reduced(image, 2 * side)  # in strips, as a whole RGB copy of a large image takes too much memory
    small.thumbnail((side, side))
    return small
