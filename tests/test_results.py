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


def test_samples_stand_side_by_side_with_their_floor(tmp_path):
    def metrics(shift):
        values = {"fid": 3.0, "recall": 0.5, "accuracy": 99.0}
        return {name: Metric(name, value + shift, {}).to_json() for name, value in values.items()}

    neighbour = {"fid": {"value": 28.2, "source": "xiao2019", "why": "other features"}}
    model = {"name": "vae_mnist", "family": "vae", "data": "mnist", "tier": "smoke", "metrics": metrics(0.25)}
    checkpoints.write_json(tmp_path / "vae_mnist.json", {**model, "published": neighbour})
    checkpoints.write_json(tmp_path / "reference.json", {"data": "mnist", "floor": metrics(0)})
    page = results.page(tmp_path)
    samples = page.split("### Samples")[1]
    columns = "| Samples | Data | FID | KID | Precision | Recall | Density | Coverage | F8 | F1/8 | Sharpness | Copies |"
    assert columns in samples
    real, fake = (line for line in samples.splitlines() if "| mnist |" in line)
    assert real == "| *real training images* | mnist | 3.00 |  |  | 0.500 |  |  |  |  |  |  |"
    assert fake == "| `vae_mnist` | mnist | 3.25 |  |  | 0.750 |  |  |  |  |  |  |"
    measured = page.split("### Samples")[0]
    assert "| `vae_mnist` | mnist | fid | 3.25 | 28.2 {cite}`xiao2019` |" in measured
    assert "| `vae_mnist` | mnist | accuracy | 99.25 |  |" in measured
    assert "recall" not in measured


def test_empty_folder_gives_a_page_without_tables(tmp_path):
    assert "|" not in results.page(tmp_path)
