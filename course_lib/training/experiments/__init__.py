"""One module an experiment: `run(tier) -> dict[str, array]`."""
