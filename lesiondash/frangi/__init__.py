"""A crop to its response per scale."""
