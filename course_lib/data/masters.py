"""The digit outlines behind `glyphs`: signed distance fields of ten digits in twenty faces.

Rendering depends on the versions of matplotlib and FreeType, so it is done once and the result is shipped
(`masters.npz`, int8, one step = 1/4 master pixel): every machine then draws the same glyphs. To render them anew:

    python -m course_lib.data.masters
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("masters.npz")
SIDE = 64  # master side in pixels
HEIGHT = 40.0  # height of a digit in master pixels; the rest is room for strokes and the field's decay
STEP = 0.25  # master pixels per int8 level

FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)


def load() -> np.ndarray:
    """`(faces, 10, SIDE, SIDE)` float64 signed distances in master pixels, positive inside the ink."""
    with np.load(PATH, allow_pickle=False) as archive:
        return archive["field"].astype(np.float64) * STEP


def render(oversampling: int = 12) -> np.ndarray:
    """The same array as int8 levels, drawn from matplotlib's own fonts."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from scipy.ndimage import distance_transform_edt

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fine = SIDE * oversampling
    field = np.empty((len(FACES), 10, SIDE, SIDE), dtype=np.int8)
    for i, face in enumerate(FACES):
        for digit in range(10):
            path = TextPath((0, 0), str(digit), size=100, prop=FontProperties(fname=fonts / f"{face}.ttf"))
            box = path.get_extents()
            half = SIDE / HEIGHT * box.height / 2  # half the canvas in font units
            figure = Figure(figsize=(1, 1), dpi=fine)
            canvas = FigureCanvasAgg(figure)
            axes = figure.add_axes((0, 0, 1, 1))
            centre = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
            axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
            axes.axis("off")
            axes.add_patch(PathPatch(path, facecolor="black", linewidth=0))
            canvas.draw()
            ink = np.asarray(canvas.buffer_rgba())[..., 0] < 128
            distance = (distance_transform_edt(ink) - distance_transform_edt(~ink)) / oversampling
            coarse = distance.reshape(SIDE, oversampling, SIDE, oversampling).mean((1, 3))
            field[i, digit] = np.clip(np.round(coarse / STEP), -127, 127)
    return field


if __name__ == "__main__":
    np.savez_compressed(PATH, field=render())
    print(f"wrote {PATH} ({PATH.stat().st_size / 1e3:.0f} kB)")
