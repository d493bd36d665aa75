"""The page's panels: one file and one class each, built from state and store."""
