"""The ResNet-18 trunk (He et al. 2016), equal to torchvision's layer by layer.

Importing torchvision for these forty lines brings in its data sets, operators and a symbolic-algebra library: 155 MB
and two seconds in the kernel of every open page. A test holds this trunk equal to `torchvision.models.resnet18`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; names of the parts are torchvision's, so that weights can be exchanged."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, h / stride, w / stride) of (n, inputs, h, w)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


def resnet18_trunk(channels: int, stem: str = "imagenet") -> nn.Sequential:
    """Build ResNet-18 without its pooling and classifier: (n, channels, h, w) to (n, 512, h / r, w / r).

    stem: "imagenet", a 7 × 7 convolution of stride 2 and max pooling, r = 32 (torchvision's); "pool", a 3 × 3
    convolution and max pooling, r = 16; "cifar", the 3 × 3 convolution alone, r = 8 (Chen et al. 2020, B.9). Weights
    are drawn as torchvision draws them (He et al. 2015, fan-out).
    """
    layers = []
    inputs = WIDTHS[0]
    for stage, width in enumerate(WIDTHS):
        layers.append(nn.Sequential(BasicBlock(inputs, width, 2 if stage else 1), BasicBlock(width, width, 1)))
        inputs = width
    wide = stem == "imagenet"
    first = nn.Conv2d(
        channels, WIDTHS[0], 7 if wide else 3, stride=2 if wide else 1, padding=3 if wide else 1, bias=False
    )
    begin = [first, nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(inplace=True)]
    if stem != "cifar":
        begin.append(nn.MaxPool2d(3, 2, 1))
    trunk = nn.Sequential(*begin, *layers)
    for part in trunk.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return trunk
