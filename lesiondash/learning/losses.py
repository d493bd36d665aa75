"""Losses on vectors: contrastive between two views of a batch, triplets, supervised, and the VAE's.

Cosines are computed in float32 whatever runs the network, in float64 for vectors of that; a batch of nothing has the
loss 0. What cannot be a batch raises `TrainingValueError`, which is a `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from lesiondash.errors import TrainingValueError


def nt_xent(
    a: Tensor, b: Tensor, temperature: float = 0.5, *, groups: Tensor | None = None, negatives: Tensor | None = None
) -> Tensor:
    """Return SimCLR's loss, the mean over both views of −log(e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ})).

    a, b: (n, d), row i of each a view of item i; they are normalised here, s is the cosine. The negatives of
    a view are both views of every other item; with groups, (n,) integers such as patients, of the items of
    other groups only; and every row of negatives, (m, d), where given, such as patches without a lesion. Returns a
    scalar, 0 or more. Source: Chen et al. 2020, eq. 1.

    >>> import torch
    >>> round(float(nt_xent(torch.eye(2), torch.eye(2), 1.0)), 4)  # log(1 + 2/e)
    0.5515
    """
    positive, others = _similarities(a, b, temperature, groups, negatives)
    return _mean(torch.logsumexp(torch.cat([positive[:, None], others], dim=1), dim=1) - positive)


def dcl(
    a: Tensor, b: Tensor, temperature: float = 0.1, *, groups: Tensor | None = None, negatives: Tensor | None = None
) -> Tensor:
    """Return the decoupled contrastive loss, the mean over both views of −s⁺/τ + log Σ e^{s⁻/τ}.

    As `nt_xent` without the positive in the denominator, so that small batches still teach; arguments as
    there. A view without any negative is only pulled to its positive. Returns a scalar of either sign.
    Source: Yeh et al. 2022, eq. 5.
    """
    positive, others = _similarities(a, b, temperature, groups, negatives)
    alone = torch.isneginf(others).all(dim=1)
    repulsion = torch.logsumexp(others.masked_fill(alone[:, None], 0.0), dim=1)
    return _mean(repulsion.masked_fill(alone, 0.0) - positive)


def triplet(a: Tensor, p: Tensor, n: Tensor, margin: float = 0.8) -> Tensor:
    """Return the mean of ½ · max(0, margin + d(a, p) − d(a, n)), with the cosine distance d = 1 − cos.

    a, p, n: (k, d) anchors, items of their kind and of another; normalised here. Returns a scalar, 0 or more. Source:
    Qi et al. 2023, eq. 3, which prints the similarity where the distance is meant: as printed it would part the
    positives.

    >>> import torch
    >>> float(triplet(torch.eye(2), torch.eye(2), torch.eye(2).flip(0)))  # positives at 0, negatives at 1
    0.0
    """
    if not a.shape == p.shape == n.shape or a.ndim != 2:
        raise TrainingValueError(
            f"Triplets must have one shape (k, d), not {tuple(a.shape)}, {tuple(p.shape)} and {tuple(n.shape)}."
        )
    if not 0 <= margin < math.inf:
        raise TrainingValueError(f"The margin must be a number of 0 or more, not {margin}.")
    anchor, positive, negative = (_unit(each) for each in (a, p, n))
    further = (anchor * negative).sum(dim=1) - (anchor * positive).sum(dim=1)  # d(a, p) − d(a, n)
    return 0.5 * _mean(F.relu(margin + further))


def supcon(z: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss: −log softmax of the cosines to all others, averaged over the positives.

    z: (n, d) vectors, normalised here; labels: (n,) integers; the positives of a vector are the others of its label.
    The mean is over the vectors that have one; without any it is 0. Source: Khosla et al. 2020, eq. 2 (L_out, without
    its factor τ / τ_base).

    >>> import torch
    >>> round(float(supcon(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]), 1.0)), 4)  # log(1 + 2/e)
    0.5515
    """
    if z.ndim != 2 or labels.shape != z.shape[:1]:
        raise TrainingValueError(f"Vectors (n, d) need labels (n,), not {tuple(z.shape)} and {tuple(labels.shape)}.")
    _check_temperature(temperature)
    z, labels = _unit(z), labels.to(z.device)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    with _full_precision(z):
        similarity = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = (similarity - torch.logsumexp(similarity, dim=1, keepdim=True)).masked_fill(itself, 0.0)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    count = positives.sum(dim=1)
    each = -(log_share * positives).sum(dim=1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)


def vae_loss(pictures: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor, beta: float = 1.0) -> Tensor:
    """Return the negative evidence bound of a batch, per image: squared error plus β times the divergence from N(0, 1).

    pictures, images: (n, c, h, w), what was decoded and what it should be, with unit variance a pixel: ½ Σ (x − x̂)².
    mean, log_variance: (n, d) of the posterior, whose divergence is ½ Σ (μ² + σ² − 1 − log σ²). Returns a scalar.
    Source: Kingma & Welling 2014, appendix B; β of Higgins et al. 2017.
    """
    error = 0.5 * (pictures.float() - images.float()).square().flatten(1).sum(dim=1)
    mean, log_variance = mean.float(), log_variance.float()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1)
    return (error + beta * divergence).mean()


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise TrainingValueError(f"The temperature must be a number above 0, not {temperature}.")


def _unit(vectors: Tensor) -> Tensor:
    """Normalise rows; a zero vector stays one, whose cosine with all is 0."""
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=1)


@contextmanager
def _full_precision(vectors: Tensor) -> Iterator[None]:
    """Keep autocast away from cosines: in bfloat16 a temperature of 0.1 would leave one digit of them."""
    with torch.autocast(vectors.device.type, enabled=False):
        yield


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, len(values))


def _similarities(
    a: Tensor, b: Tensor, temperature: float, groups: Tensor | None, negatives: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Cosines over temperature: with the positive, (2n,), and with all views and further negatives, (2n, 2n + m), −∞
    where not a negative.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise TrainingValueError(f"Two views must have one shape (n, d), not {tuple(a.shape)} and {tuple(b.shape)}.")
    _check_temperature(temperature)
    n = len(a)
    ids = torch.arange(n, device=a.device) if groups is None else groups.to(a.device)
    if ids.shape != (n,):
        raise TrainingValueError(f"groups must be ({n},), not {tuple(ids.shape)}.")
    if negatives is not None and (negatives.ndim != 2 or negatives.shape[1] != a.shape[1]):
        raise TrainingValueError(f"negatives must be (m, {a.shape[1]}), not {tuple(negatives.shape)}.")
    z = _unit(torch.cat([a, b]))  # (2n, d)
    ids = torch.cat([ids, ids])
    with _full_precision(z):
        similarity = z @ z.T / temperature  # (2n, 2n)
        positive = torch.cat([similarity.diagonal(n), similarity.diagonal(-n)])  # (2n,)
        others = similarity.masked_fill(ids[:, None] == ids[None, :], -torch.inf)
        if negatives is not None:
            others = torch.cat([others, z @ _unit(negatives).to(z.dtype).T / temperature], dim=1)
    return positive, others
