"""One look for every figure of the book, and one way to show it: `show(fig, caption=..., alt=...)`."""

import base64
import html
import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe & Ito's palette: told apart with any colour vision, and in grey.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
SAMPLES_SEED = 2024  # every chapter draws the samples that it shows with this seed


def style() -> None:
    """Set matplotlib's defaults to the book's look."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": (7.0, 3.6),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.prop_cycle": plt.cycler(color=list(COLORS.values())),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )


def webp(fig: Figure, dpi: int = 150) -> bytes:
    """The figure as the bytes of a lossless WebP file: half the size of a PNG, and a page holds dozens."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"lossless": True, "method": 1, "quality": 30})
    return buffer.getvalue()


def data_uri(image: bytes) -> str:
    """WebP bytes as an address that a page can hold."""
    return "data:image/webp;base64," + base64.b64encode(image).decode()


def check_alt(alt: str) -> str:
    """Return `alt`, which must say what a picture shows.

    Raises:
        ValueError: it is too short for that.
    """
    if len(alt.strip()) < 20:
        raise ValueError(f"alt text must say what the figure shows, in a sentence; got {alt!r}")
    return alt.strip()


def show(fig: Figure, *, caption: str, alt: str) -> None:
    """Display a figure with its caption and its description for those who cannot see it, and close it.

    Args:
        caption: what to see in it, in one or two sentences of plain text.
        alt: what it shows, for a screen reader.

    Raises:
        ValueError: an `alt` too short to describe anything.
    """
    width = int(fig.get_figwidth() * 100)
    source = data_uri(webp(fig))
    plt.close(fig)
    display(
        HTML(
            f'<figure class="course-figure"><img src="{source}" alt="{html.escape(check_alt(alt))}" '
            f'style="width:{width}px;max-width:100%;height:auto">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    )


def image_grid(images: Tensor, ncols: int = 10, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Images side by side, row by row.

    Args:
        images: `(N, C, H, W)` in [0, 1] with C 1 or 3; values outside are clipped, as a screen would.
        ncols: images in a row.
        ax: where to draw; a figure of a fitting size if left out.

    Returns:
        The figure.

    Raises:
        ValueError: another shape.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected images (N, C, H, W) with C 1 or 3; got {tuple(images.shape)}")
    pictures = images.detach().to("cpu", torch.float32).clamp(0, 1)
    n, channels, height, width = pictures.shape
    nrows = -(-n // ncols)
    gap = max(1, height // 14)
    sheet = torch.ones(channels, nrows * (height + gap) - gap, ncols * (width + gap) - gap)
    for i, picture in enumerate(pictures):
        top, left = (i // ncols) * (height + gap), (i % ncols) * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture
    if ax is None:
        inches = min(7.0, 0.65 * ncols)
        _, ax = plt.subplots(
            figsize=(inches, inches * sheet.shape[1] / sheet.shape[2] + (0.3 if title else 0))
        )
    picture = np.asarray(sheet.permute(1, 2, 0))
    ax.imshow(picture.squeeze(-1) if channels == 1 else picture, vmin=0, vmax=1)
    ax.axis("off")
    if title:
        ax.set_title(title)
    return ax.figure
