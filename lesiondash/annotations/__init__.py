"""Marks on slices: kept, measured, and exchanged with other programs."""
