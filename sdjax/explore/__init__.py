"""A model to look at: what a page, or a notebook, shows of texts that one types in."""
