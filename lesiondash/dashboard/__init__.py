"""What a person sees: state, panels and widgets of the page."""

from lesiondash.dashboard.page import Dashboard

__all__ = ["Dashboard"]
