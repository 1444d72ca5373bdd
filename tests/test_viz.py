"""Figures and explorers: captions, descriptions, frames."""

import re

import matplotlib.pyplot as plt
import pytest
import torch

from course_lib import viz
from course_lib.models.vae import VAE

ALT = "A straight line that rises from the origin to the value of the slider"


def line(value):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1], [0, value])
    return fig


def test_show_displays_picture_caption_and_description(monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.viz.figures.display", shown.append)
    viz.show(line(1), caption='A "rising" line < 2', alt=ALT)
    html = shown[0].data
    assert f'alt="{ALT}"' in html
    assert "<figcaption>A &quot;rising&quot; line &lt; 2</figcaption>" in html
    assert 'src="data:image/webp;base64,' in html
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="say what the figure shows"):
        viz.show(line(1), caption="x", alt="plot.png")


def test_explorer_has_a_live_and_a_static_face():
    explorer = viz.Explorer(line, [0.0, 0.5, 1.0], label="slope", caption="Move it", alt=ALT, start=1)
    data, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    html = data["text/html"]
    assert len(set(re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", html))) == 3
    assert 'max="2" value="1"' in html
    assert "http" not in html.replace("http://www.w3.org", "")
    assert not plt.get_fignums()
    slider, picture, _ = explorer.widget().children
    assert picture.value == explorer.frames[1]
    slider.value = 2
    assert picture.value == explorer.frames[2]
    for bad in ([], list(range(41))):
        with pytest.raises(ValueError, match="1 to 40 frames"):
            viz.Explorer(line, bad, label="x", caption="x", alt=ALT)


def test_two_explorers_of_a_page_have_their_own_names():
    first, second = (viz.Explorer(line, [0, 1], label="x", caption="x", alt=ALT).static() for _ in range(2))
    assert re.search(r'id="(.*?)"', first)[1] != re.search(r'id="(.*?)"', second)[1]


def test_image_grid_lays_images_out_in_rows():
    images = torch.zeros(5, 1, 14, 14)
    images[3] = 1
    fig = viz.image_grid(images, ncols=3, title="five")
    sheet = fig.axes[0].images[0].get_array()
    assert sheet.shape == (2 * 15 - 1, 3 * 15 - 1)
    assert sheet[15:29, 0:14].min() == 1  # image 3 begins the second row
    assert sheet[0:14, 0:14].max() == 0
    plt.close(fig)
    with pytest.raises(ValueError, match="N, C, H, W"):
        viz.image_grid(torch.zeros(5, 14, 14))


def test_show_source_prints_the_librarys_own_lines(monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.viz.source.display", shown.append)
    viz.show_source(VAE.loss)
    assert shown[0].data.startswith("def loss(self")  # a method stands at the margin
