"""A figure with a slider that works live in a notebook and, over prepared frames, in a page without a kernel."""

import html
import itertools
import json
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_lib.viz.figures import check_alt, data_uri, webp

_numbers = itertools.count()


class Explorer:
    """`render(value)` for each of `values`, behind a slider.

    Put it as the last expression of a cell. With a kernel you see a widget; the static page shows the same frames behind an
    ordinary HTML slider, with no widget script and no network.

    Args:
        render: draws a new matplotlib figure for one value; the explorer closes it.
        values: what the slider runs over, at most 40 (each is a prepared picture).
        label: what the slider moves, with its unit.
        caption, alt: as in `viz.show`.
        start: index of the first frame shown.
        fmt: how a value is written.

    Raises:
        ValueError: no values or too many, a start outside, or an `alt` that describes nothing.
    """

    def __init__(
        self,
        render: Callable[[object], Figure],
        values: Sequence,
        *,
        label: str,
        caption: str,
        alt: str,
        start: int = 0,
        fmt: str = "{:.3g}",
    ):
        values = list(values)
        if not 1 <= len(values) <= 40:
            raise ValueError(
                f"an explorer holds 1 to 40 frames, each a picture in the page; got {len(values)}"
            )
        if not 0 <= start < len(values):
            raise ValueError(f"start must be an index into the {len(values)} values; got {start}")
        self.label, self.caption, self.alt, self.start = label, caption, check_alt(alt), start
        self.names = [fmt.format(value) for value in values]
        self.frames = []
        for value in values:
            figure = render(value)
            self.frames.append(webp(figure, dpi=110))
            self.width = int(figure.get_figwidth() * 100)
            plt.close(figure)

    def widget(self):
        """The live slider."""
        import ipywidgets

        picture = ipywidgets.Image(value=self.frames[self.start], format="webp", width=self.width)
        slider = ipywidgets.SelectionSlider(
            options=[(name, i) for i, name in enumerate(self.names)], value=self.start, description=self.label
        )
        slider.style.description_width = "initial"
        slider.layout.width = f"{min(self.width, 560)}px"

        def turn(change):
            picture.value = self.frames[change["new"]]

        slider.observe(turn, names="value")
        return ipywidgets.VBox([slider, picture, ipywidgets.HTML(html.escape(self.caption))])

    def static(self) -> str:
        """The same as HTML that needs nothing but a browser."""
        key = f"explorer-{next(_numbers)}"
        frames = json.dumps([data_uri(frame) for frame in self.frames])
        names = json.dumps(self.names)
        label, alt, caption = (html.escape(text) for text in (self.label, self.alt, self.caption))
        return f"""<figure class="course-figure course-explorer" id="{key}">
<label>{label} <input type="range" min="0" max="{len(self.frames) - 1}" value="{self.start}" step="1"
 aria-label="{label}"> <output>{html.escape(self.names[self.start])}</output></label>
<img src="{data_uri(self.frames[self.start])}" alt="{alt}" style="width:{self.width}px;max-width:100%;height:auto">
<figcaption>{caption}</figcaption>
<script>(function () {{
  const box = document.getElementById("{key}"), frames = {frames}, names = {names};
  box.querySelector("input").addEventListener("input", function (event) {{
    box.querySelector("img").src = frames[event.target.value];
    box.querySelector("output").textContent = names[event.target.value];
  }});
}})();</script></figure>"""

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = self.widget()._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/html": self.static()}, metadata
