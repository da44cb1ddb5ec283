"""A trained model used: scores, samples, held units."""
