"""Fine-tuning a classifier head together with the language model under it."""
