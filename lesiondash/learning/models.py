"""What is trained: the encoder with the part that only training needs, SimCLR's projection or the VAE's decoder."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lesiondash.images.crops import CROP_PX
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.network import EMBEDDING_DIM, LesionNet, build_net, seeded
from lesiondash.learning.resnet import BasicBlock

PROJECTION_DIM = 128
DECODER_WIDTHS = (256, 128, 64, 64, 64)
"""From 2 × 2 pixels on, each twice as wide as the one before: 64 × 64."""
START_PX = CROP_PX >> len(DECODER_WIDTHS)


class SimCLR(nn.Module):
    """An encoder and SimCLR's projection head, 512 → 512 → 128, which is dropped after training (Chen et al. 2020)."""

    def __init__(self, architecture: Architecture, seed: int) -> None:
        super().__init__()
        self.net: LesionNet = build_net(architecture, seed)
        with seeded(seed + 1):
            self.projection = nn.Sequential(
                nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM, bias=False),
                nn.BatchNorm1d(EMBEDDING_DIM),
                nn.ReLU(inplace=True),
                nn.Linear(EMBEDDING_DIM, PROJECTION_DIM, bias=False),
            )

    def forward(self, views: Tensor) -> Tensor:
        """Project views (n, channels, 64, 64) to (n, 128)."""
        vectors: Tensor = self.net(views)
        with torch.autocast(views.device.type, enabled=False):  # young vectors differ in their third digit
            projected: Tensor = self.projection(vectors.float())
        return projected


class Decoder(nn.Module):
    """A ResNet-18 in reverse: (n, 512) to (n, channels, 64, 64) in [0, 1], doubled in size before each stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.begin = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM * START_PX**2)
        stages: list[nn.Module] = []
        inputs = EMBEDDING_DIM
        for width in DECODER_WIDTHS:
            stages += [nn.Upsample(scale_factor=2), BasicBlock(inputs, width, 1), BasicBlock(width, width, 1)]
            inputs = width
        self.stages = nn.Sequential(*stages[:-1])  # one block at full size: two would cost as much as the encoder
        self.end = nn.Conv2d(inputs, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Decode (n, 512) to (n, channels, 64, 64)."""
        x = F.relu(self.begin(z)).view(len(z), EMBEDDING_DIM, START_PX, START_PX)
        picture: Tensor = torch.sigmoid(self.end(self.stages(x)))
        return picture


class VAE(nn.Module):
    """A variational autoencoder whose posterior mean, normalised, is the lesion's vector (Kingma & Welling 2014).

    Encoder and decoder are ResNet-18s; the encoder is pooled as the architecture says and has a linear head, the mean.
    """

    def __init__(self, architecture: Architecture, seed: int) -> None:
        super().__init__()
        self.net: LesionNet = build_net(replace(architecture, head="linear"), seed)
        with seeded(seed + 1):
            self.log_variance = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
            self.decoder = Decoder(architecture.channels)

    def forward(self, views: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures decoded at noise (n, 512) standard deviations, the posterior's mean and log variance."""
        pooled = self.net.pooled(views)
        mean, log_variance = self.net.head(pooled), self.log_variance(pooled).float().clamp(-10.0, 10.0)
        return self.decoder(mean + noise * torch.exp(0.5 * log_variance)), mean, log_variance
