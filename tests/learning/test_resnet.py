"""The trunk is torchvision's ResNet-18: same weights in, same features out."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn
from torchvision.models import resnet18

from lesiondash.learning.resnet import resnet18_trunk


def test_equals_torchvision() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(*list(resnet18(weights=None).children())[:-2])
    ours = resnet18_trunk(3)
    ours.load_state_dict(theirs.state_dict())  # strict: every name and shape is the same
    x = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        theirs.train(mode)
        ours.train(mode)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_weights_are_drawn_alike() -> None:
    torch.manual_seed(0)
    theirs = dict(nn.Sequential(*list(resnet18(weights=None).children())[:-2]).named_parameters())
    for name, weight in resnet18_trunk(3).named_parameters():
        if weight.ndim == 4:
            assert 0.9 < float(weight.detach().std() / theirs[name].detach().std()) < 1.1, name
        else:
            assert torch.equal(weight, theirs[name]), name


def test_other_channels() -> None:
    assert resnet18_trunk(5)(torch.zeros(1, 5, 64, 64)).shape == (1, 512, 2, 2)


def test_encoder_needs_no_torchvision() -> None:
    code = "import sys, lesiondash.learning.encoder; assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
