"""The generated results page."""

from book import results
from course_lib import checkpoints
from course_lib.metrics import Metric


def test_tables_hold_what_the_cards_say(tmp_path):
    elbo = Metric("elbo", -98.123, {"data": "mnist"}, (-98.5, -97.7), "nats")
    card = {
        "name": "vae_mnist",
        "family": "vae",
        "data": "mnist",
        "tier": "laptop",
        "steps": 80_000,
        "parameters": 444_934,
        "seconds": 540.0,
        "hardware": {"device": "a processor", "threads": 1},
        "metrics": {"elbo": elbo.to_json()},
        "published": {"elbo": {"value": -98.3, "source": "kingma2014auto", "why": "another batch"}},
    }
    checkpoints.write_json(tmp_path / "vae_mnist.json", card)
    page = results.page(tmp_path)
    row = "| `vae_mnist` | mnist | elbo (nats) | -98.12 [-98.50, -97.70] | -98.3 {cite}`kingma2014auto` |"
    assert row in page
    assert "- `vae_mnist`, elbo: another batch." in page
    assert "| `vae_mnist` | laptop | 80,000 | 444,934 | 540.0 | a processor, 1 thread |" in page
    assert "None yet." in page  # no experiment was recorded


def test_empty_folder_gives_a_page_without_tables(tmp_path):
    assert "|" not in results.page(tmp_path)
