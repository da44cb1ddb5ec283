"""A head and the model under it trained together."""
