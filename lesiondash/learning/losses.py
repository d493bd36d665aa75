"""Contrastive losses between two views of a batch: NT-Xent and its decoupled form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(a: Tensor, b: Tensor, temperature: float = 0.5, *, groups: Tensor | None = None) -> Tensor:
    """Return SimCLR's loss, the mean over both views of −log(e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ})).

    a, b: (n, d), row i of each a view of item i; they are normalised here, s is the cosine. The negatives of
    a view are both views of every other item; with groups, (n,) integers such as patients, of the items of
    other groups only. Returns a scalar, 0 or more. Source: Chen et al. 2020, eq. 1.

    >>> import torch
    >>> round(float(nt_xent(torch.eye(2), torch.eye(2), 1.0)), 4)  # log(1 + 2/e)
    0.5515
    """
    positive, negatives = _similarities(a, b, temperature, groups)
    return (torch.logsumexp(torch.cat([positive[:, None], negatives], dim=1), dim=1) - positive).mean()


def dcl(a: Tensor, b: Tensor, temperature: float = 0.1, *, groups: Tensor | None = None) -> Tensor:
    """Return the decoupled contrastive loss, the mean over both views of −s⁺/τ + log Σ e^{s⁻/τ}.

    As `nt_xent` without the positive in the denominator, so that small batches still teach; arguments as
    there. A view without any negative is only pulled to its positive. Returns a scalar of either sign.
    Source: Yeh et al. 2022, eq. 5.
    """
    positive, negatives = _similarities(a, b, temperature, groups)
    alone = torch.isneginf(negatives).all(dim=1)
    repulsion = torch.logsumexp(negatives.masked_fill(alone[:, None], 0.0), dim=1)
    return (repulsion.masked_fill(alone, 0.0) - positive).mean()


def _similarities(a: Tensor, b: Tensor, temperature: float, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cosines over temperature: with the positive, (2n,), and with all views, (2n, 2n), −∞ where not a
    negative.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"two views must have one shape (n, d), not {tuple(a.shape)} and {tuple(b.shape)}")
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, not {temperature}")
    n = len(a)
    ids = torch.arange(n, device=a.device) if groups is None else groups.to(a.device)
    if ids.shape != (n,):
        raise ValueError(f"groups must be ({n},), not {tuple(ids.shape)}")
    z = F.normalize(torch.cat([a, b]).float(), dim=1)  # (2n, d)
    similarity = z @ z.T / temperature  # (2n, 2n)
    positive = torch.cat([similarity.diagonal(n), similarity.diagonal(-n)])  # (2n,)
    ids = torch.cat([ids, ids])
    same = ids[:, None] == ids[None, :]
    return positive, similarity.masked_fill(same, -torch.inf)
