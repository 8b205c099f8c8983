"""Colours of a batch, each image with factors of its own: what Pillow's ``ImageEnhance`` does, and hue.

Images are ``(n, h, w, c)`` float32 in [0, 1], of 1 or 3 channels; factors are ``(n, 1, 1, 1)``.
"""

import math

import keras
import numpy as np
from keras import ops

# From RGB to luma (ITU-R BT.601) and two axes of chroma, and back.
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
LUMA = RGB_TO_YIQ[0]


def adjust_color(
    images: keras.KerasTensor,
    brightness: keras.KerasTensor,
    contrast: keras.KerasTensor,
    saturation: keras.KerasTensor,
    hue: keras.KerasTensor,
) -> keras.KerasTensor:
    """Multiply brightness, contrast and saturation, and rotate the hue, with one clipping at the end.

    As in Pillow, contrast is relative to the image's mean luma.

    Args:
        images: The batch.
        brightness: Factors, 1 for no change.
        contrast: Factors, 1 for no change.
        saturation: See ``adjust_chroma``.
        hue: See ``adjust_chroma``.
    """
    channel_means = ops.mean(images, axis=(1, 2), keepdims=True)
    mean = channel_means if images.shape[-1] == 1 else ops.sum(channel_means * LUMA, axis=-1, keepdims=True)
    stretched = brightness * contrast * adjust_chroma(images, saturation, hue)
    return ops.clip(stretched + (1 - contrast) * brightness * mean, 0, 1)


def adjust_chroma(
    images: keras.KerasTensor, saturation: keras.KerasTensor, hue: keras.KerasTensor | float = 0.0
) -> keras.KerasTensor:
    """Multiply the distance of each colour from its grey, and rotate it in YIQ; grey images are not changed.

    Args:
        images: The batch.
        saturation: Factors, 1 for no change, 0 for grey.
        hue: Angles in turns, 0 for no change.

    Returns:
        ``(n, h, w, c)`` float32, not clipped.
    """
    if images.shape[-1] == 1:
        return images
    cosine, sine = saturation * ops.cos(2 * math.pi * hue), saturation * ops.sin(2 * math.pi * hue)
    # Grey, chroma, and chroma turned by 90 degrees, as matrices from RGB to RGB.
    gray, kept, turned = (
        (YIQ_TO_RGB @ np.array(part) @ RGB_TO_YIQ).astype(np.float32)
        for part in (np.diag([1, 0, 0]), np.diag([0, 1, 1]), [[0, 0, 0], [0, 0, -1], [0, 1, 0]])
    )
    return sum(
        images[..., of : of + 1] * (gray[:, of] + cosine * kept[:, of] + sine * turned[:, of]) for of in range(3)
    )


def sharpen(images: keras.KerasTensor, factor: keras.KerasTensor) -> keras.KerasTensor:
    """Extrapolate from a blurred image, Pillow's ``ImageFilter.SMOOTH``; the outermost pixels are not changed.

    Args:
        images: The batch.
        factor: 0 for the blurred image, 1 for the image itself, more for a sharper one.
    """
    three = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    nine = three[:, :, :-2] + three[:, :, 1:-1] + three[:, :, 2:]
    inner = images[:, 1:-1, 1:-1]
    difference = inner - (nine + 4 * inner) / 13
    return ops.clip(images + (factor - 1) * ops.pad(difference, ((0, 0), (1, 1), (1, 1), (0, 0))), 0, 1)
