"""One module a family: `RECIPES`, a list of `Recipe`."""
