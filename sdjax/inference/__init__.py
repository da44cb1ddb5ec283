"""Using a trained model: scoring texts, sampling, and holding units at values."""
