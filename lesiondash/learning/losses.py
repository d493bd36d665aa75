"""Losses on vectors: contrastive between two views of a batch, triplets, supervised, and the VAE's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
    return (torch.logsumexp(torch.cat([positive[:, None], others], dim=1), dim=1) - positive).mean()


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
    return (repulsion.masked_fill(alone, 0.0) - positive).mean()


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
        raise ValueError(
            f"triplets must have one shape (k, d), not {tuple(a.shape)}, {tuple(p.shape)} and {tuple(n.shape)}"
        )
    anchor, positive, negative = (F.normalize(each.float(), dim=1) for each in (a, p, n))
    further = (anchor * negative).sum(dim=1) - (anchor * positive).sum(dim=1)  # d(a, p) − d(a, n)
    return 0.5 * F.relu(margin + further).mean()


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
        raise ValueError(f"vectors (n, d) need labels (n,), not {tuple(z.shape)} and {tuple(labels.shape)}")
    _check_temperature(temperature)
    z = F.normalize(z.float(), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
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
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, not {temperature}")


def _similarities(
    a: Tensor, b: Tensor, temperature: float, groups: Tensor | None, negatives: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Cosines over temperature: with the positive, (2n,), and with all views and further negatives, (2n, 2n + m), −∞
    where not a negative.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"two views must have one shape (n, d), not {tuple(a.shape)} and {tuple(b.shape)}")
    _check_temperature(temperature)
    n = len(a)
    ids = torch.arange(n, device=a.device) if groups is None else groups.to(a.device)
    if ids.shape != (n,):
        raise ValueError(f"groups must be ({n},), not {tuple(ids.shape)}")
    z = F.normalize(torch.cat([a, b]).float(), dim=1)  # (2n, d)
    similarity = z @ z.T / temperature  # (2n, 2n)
    positive = torch.cat([similarity.diagonal(n), similarity.diagonal(-n)])  # (2n,)
    ids = torch.cat([ids, ids])
    others = similarity.masked_fill(ids[:, None] == ids[None, :], -torch.inf)
    if negatives is not None:
        if negatives.ndim != 2 or negatives.shape[1] != a.shape[1]:
            raise ValueError(f"negatives must be (m, {a.shape[1]}), not {tuple(negatives.shape)}")
        others = torch.cat([others, z @ F.normalize(negatives.float(), dim=1).T / temperature], dim=1)
    return positive, others
