"""A crop to its vector."""
