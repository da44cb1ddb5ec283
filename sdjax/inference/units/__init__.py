"""Which unit of a model follows which property of texts, character by character."""
