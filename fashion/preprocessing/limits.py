"""Settings of Pillow and OpenCV that hold for the whole process: changed by a call, never by an import."""

import cv2
from PIL import AvifImagePlugin, Image, PngImagePlugin

from fashion.preprocessing.formats import reads_heif

DECODER_THREADS = 1  # a server already decodes images in parallel, one per thread


def set_decoder_limits() -> None:
    """Replace Pillow's own limits by those that ``fashion.preprocessing.decode`` enforces.

    ``decode.open_checked`` calls this before it opens a file, so that no caller can decode without the limits. Calling
    it again changes nothing.
    """
    # Pillow's limit on pixels is laxer than ours, and from half of it on only warns.
    Image.MAX_IMAGE_PIXELS = None
    # Text beside the image is never shown: a few bytes that unpack to Pillow's own 64 MiB are an attack.
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK
    AvifImagePlugin.DEFAULT_MAX_THREADS = DECODER_THREADS
    if "HEIF" not in Image.OPEN and reads_heif():
        from pillow_heif import register_heif_opener  # an extra

        register_heif_opener(decode_threads=DECODER_THREADS, thumbnails=False, depth_images=False, aux_images=False)


def use_one_opencv_thread() -> None:
    """Keep OpenCV from starting threads of its own; the server and XLA have enough. Results stay the same.

    Entry points that segment photos call this once.
    """
    cv2.setNumThreads(1)
