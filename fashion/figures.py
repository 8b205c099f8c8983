"""Charts in one style, written whole or not at all."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from cycler import cycler
from jaxtyping import Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fashion.files import replacing
from fashion.palette import INK, LINE, MUTED, SERIES

TILE_GAP_PIXELS = 2

STYLE: dict[Any, Any] = {  # matplotlib's stubs list every key as a literal type
    # The font that comes with matplotlib, so that charts look the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": MUTED,
    "axes.labelpad": 7,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=SERIES),
    "figure.titlesize": 14,
    "figure.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 150,
    "xtick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
}


@contextlib.contextmanager
def saved_figure(path: Path, width_inches: float, height_inches: float, title: str) -> Iterator[Figure]:
    """Yield an empty figure in the house style; write it as a PNG when the block ends without an error.

    The figure belongs to no window and is freed with its last reference, unlike one of pyplot.

    Args:
        path: The PNG file; its folder is created.
        width_inches: Width; 150 pixels to the inch.
        height_inches: Height.
        title: Headline, flush left.

    Raises:
        WriteError: When the file cannot be written.
    """
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a line for each letter; they become boxes
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        figure.suptitle(title, x=0.012, ha="left", wrap=True)
        yield figure
        with replacing(path) as partial:
            # Without the name of the program: equal figures are equal files.
            figure.savefig(partial, format="png", metadata={"Software": None})


def shortened(name: str, letters: int) -> str:
    """Return a name that has room in a figure: if it is longer than so many letters, its beginning and its end."""
    half = letters // 2
    short = name if len(name) <= letters else f"{name[:half]}…{name[1 - half :]}"
    return short.replace("$", r"\$")  # which begins a formula


def reduced(image: Shaped[np.ndarray, "h w c"], side: int) -> Shaped[np.ndarray, "y x c"]:
    """Return an image scaled so that its longer side has a number of pixels; a smaller image as it is."""
    height, width, channels = image.shape
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)


def show_tiles(
    axes: Axes,
    tiles: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    cmap: str = "gray",
    vmax: float = 1.0,
) -> AxesImage:
    """Show a grid of small images with thin gaps as one image: a hundred axes would take seconds to lay out.

    Args:
        axes: Where to draw; its frame, ticks and grid are removed.
        tiles: ``(rows, columns, h, w, c)`` float, 0 to ``vmax``, of one channel or three; NaN stays blank.
        rows: Names left of the rows.
        columns: Names above the columns.
        cmap: Colour map of the values.
        vmax: The value that gets the last colour.
    """
    row_count, column_count, height, width, channels = tiles.shape
    pitch_y, pitch_x = height + TILE_GAP_PIXELS, width + TILE_GAP_PIXELS
    sheet = np.full((row_count, pitch_y, column_count, pitch_x, channels), np.nan)
    sheet[:, :height, :, :width] = tiles.transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(row_count * pitch_y, column_count * pitch_x, channels)[:-TILE_GAP_PIXELS, :-TILE_GAP_PIXELS]
    if channels == 3:  # in colour there is no blank: a fourth channel hides it
        sheet = np.concatenate([np.nan_to_num(sheet), np.isfinite(sheet[..., :1])], axis=2)
    shown = axes.imshow(sheet, cmap=cmap, vmin=0, vmax=vmax, interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_yticks((height - 1) / 2 + pitch_y * np.arange(len(rows)), rows)
    axes.set_xticks((width - 1) / 2 + pitch_x * np.arange(len(columns)), columns)
    return shown
