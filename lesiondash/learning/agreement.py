"""Why two crops are alike: their similarity split over the places of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lesiondash.errors import EncoderError
from lesiondash.learning.encoder import Encoder, checked_crops
from lesiondash.learning.network import GeM, LesionNet
from lesiondash.records import FloatArray


@dataclass(frozen=True, eq=False)
class Agreement:
    """The share of a similarity that each place of each crop brings; either map sums to the similarity.

    first, second: (h, w) float64 over the network's last feature map, row 0 above, each place a part of the crop of
    64 / h × 64 / w pixels at its centre of sight.
    """

    similarity: float
    first: FloatArray
    second: FloatArray


def agreement(encoder: Encoder, first: npt.ArrayLike, second: npt.ArrayLike) -> Agreement:
    """Split the cosine of two crops over the places of both.

    first, second: crops as of `Encoder.embed`, one each. The pooled value of a channel, (mean of f^p)^(1/p), is shared
    among places in proportion to f^p, average pooling being p = 1; through a linear head the shares go on linearly, its
    bias evenly. Raises `EncoderError` for an encoder with a sigmoid head, whose similarity has no such parts.
    """
    if encoder.architecture.head == "sigmoid":
        raise EncoderError("This encoder ends in a sigmoid, through which a similarity cannot be split over places.")
    net = encoder.network().eval()
    sides = [checked_crops(side, encoder.architecture.slices).astype(np.float32) for side in (first, second)]
    if [len(side) for side in sides] != [1, 1]:
        raise EncoderError(f"Give one crop on each side; these are {sum(map(len, sides))} together.")
    inputs = encoder.inputs(np.concatenate(sides))
    with torch.inference_mode():
        parts = _placed(net, net.features(inputs.float()).double())  # (2, d, h, w), sums to the vector before norm
        whole = parts.sum(dim=(2, 3))
        vectors, norms = F.normalize(whole, dim=1), whole.norm(dim=1)
        maps = [
            torch.einsum("dhw,d->hw", parts[0] / norms[0], vectors[1]),
            torch.einsum("dhw,d->hw", parts[1] / norms[1], vectors[0]),
        ]
    one, two = (each.cpu().numpy() for each in maps)
    return Agreement(float((vectors[0] * vectors[1]).sum()), one, two)


def _placed(net: LesionNet, features: Tensor) -> Tensor:
    """Split each component of the vectors over the places of the feature map: (n, c, h, w) to (n, d, h, w)."""
    places = features.shape[2] * features.shape[3]
    if isinstance(net.pool, GeM):
        power = net.pool.exponent.double()
        raised = features.clamp(min=net.pool.eps) ** power
        mean = raised.mean(dim=(2, 3), keepdim=True)
        parts = raised / (places * mean) * mean ** (1 / power)
    else:
        parts = features / places
    if isinstance(net.head, nn.Linear):
        weight, bias = net.head.weight.double(), net.head.bias.double()
        parts = torch.einsum("dc,nchw->ndhw", weight, parts) + bias[None, :, None, None] / places
    return parts
