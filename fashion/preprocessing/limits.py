"""Settings of Pillow and OpenCV that hold for the whole process: changed by a call, never by an import."""

import cv2
from PIL import Image, PngImagePlugin


def set_decoder_limits() -> None:
    """Replace Pillow's own limits by those that ``fashion.preprocessing.decode`` enforces.

    ``decode.open_checked`` calls this before it opens a file, so that no caller can decode without the limits. Calling
    it again changes nothing.
    """
    # Pillow's limit on pixels is laxer than ours, and from half of it on only warns.
    Image.MAX_IMAGE_PIXELS = None
    # Text beside the image is never shown: a few bytes that unpack to Pillow's own 64 MiB are an attack.
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK


def use_one_opencv_thread() -> None:
    """Keep OpenCV from starting threads of its own; the server and XLA have enough. Results stay the same.

    Entry points that segment photos call this once.
    """
    cv2.setNumThreads(1)
