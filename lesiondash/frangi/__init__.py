"""A crop to its response per scale: the modified multi-scale Frangi filter, for slices and volumes."""

from lesiondash.frangi.backend import engine, warm_up
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.response import frangi_filter

__all__ = ["HessianStack", "engine", "frangi_filter", "warm_up"]
