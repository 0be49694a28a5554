"""The paper's networks for 32x32 colour images, and a ResNet8 small enough to train on a CPU.

VGG after Simonyan and Zisserman (arXiv 1409.1556) with one linear layer on top, ResNet after He et
al. (arXiv 1512.03385) with a 3x3 stem of stride 1 and no max-pooling: the common CIFAR variants
that arXiv 1901.09847 trains. All start from torch's default initialisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["NAMES", "VGG", "ResNet", "build"]
__all__ += ["resnet8", "resnet18", "resnet34", "resnet50", "vgg11", "vgg13", "vgg16", "vgg19"]

WIDTHS = (64, 128, 256, 512, 512)  # of VGG's five stages, each ended by a max-pooling


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each stage halved by max-pooling, then Linear(512, classes).

    ``depths`` counts the convolutions of each stage. Input (B, 3, 32, 32), output (B, classes).
    """

    def __init__(self, depths: Sequence[int], num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for depth, width in zip(depths, WIDTHS, strict=True):
            for _ in range(depth):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)); the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, body: nn.Sequential, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = _convolution(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


# channels, width, stride -> the block, and its number of output channels
Block: TypeAlias = Callable[[int, int, int], tuple[Residual, int]]


def _convolution(channels: int, out: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


def _basic(channels: int, width: int, stride: int) -> tuple[Residual, int]:
    body = nn.Sequential(
        _convolution(channels, width, 3, stride),
        nn.ReLU(inplace=True),
        _convolution(width, width, 3),
    )
    return Residual(body, channels, width, stride), width


def _bottleneck(channels: int, width: int, stride: int) -> tuple[Residual, int]:
    out = 4 * width
    body = nn.Sequential(
        _convolution(channels, width, 1),
        nn.ReLU(inplace=True),
        _convolution(width, width, 3, stride),
        nn.ReLU(inplace=True),
        _convolution(width, out, 1),
    )
    return Residual(body, channels, out, stride), out


class ResNet(nn.Module):
    """A 3x3 stem, stages of residual blocks (all but the first halve the image), mean, Linear.

    Stage i holds depths[i] blocks of width width*2^i. Input (B, 3, H, W), output (B, classes).
    """

    def __init__(self, block: Block, depths: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, width, 3), nn.ReLU(inplace=True))
        blocks: list[Residual] = []
        channels = width
        for stage, depth in enumerate(depths):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                residual, channels = block(channels, width * 2**stage, stride)
                blocks.append(residual)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        # Average pooling over what remains of the image: 4x4 of 32x32, in ResNet8 8x8.
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits


def vgg11(num_classes: int = 10, batch_norm: bool = True) -> VGG:
    """VGG with 8 convolutions."""
    return VGG((1, 1, 2, 2, 2), num_classes, batch_norm)


def vgg13(num_classes: int = 10, batch_norm: bool = True) -> VGG:
    """VGG with 10 convolutions."""
    return VGG((2, 2, 2, 2, 2), num_classes, batch_norm)


def vgg16(num_classes: int = 10, batch_norm: bool = True) -> VGG:
    """VGG with 13 convolutions."""
    return VGG((2, 2, 3, 3, 3), num_classes, batch_norm)


def vgg19(num_classes: int = 10, batch_norm: bool = True) -> VGG:
    """VGG with 16 convolutions; 20,040,522 parameters at 10 classes."""
    return VGG((2, 2, 4, 4, 4), num_classes, batch_norm)


def resnet8(num_classes: int = 10, width: int = 16) -> ResNet:
    """Three stages of one basic block (arXiv 1512.03385, section 4.2, n = 1), projected shortcuts.

    Its three stages have ``width``, 2 ``width`` and 4 ``width`` channels.
    """
    return ResNet(_basic, (1, 1, 1), width, num_classes)


def resnet18(num_classes: int = 10) -> ResNet:
    """Four stages of 2 basic blocks; 11,220,132 parameters at 100 classes."""
    return ResNet(_basic, (2, 2, 2, 2), 64, num_classes)


def resnet34(num_classes: int = 10) -> ResNet:
    """Four stages of 3, 4, 6 and 3 basic blocks."""
    return ResNet(_basic, (3, 4, 6, 3), 64, num_classes)


def resnet50(num_classes: int = 10) -> ResNet:
    """Four stages of 3, 4, 6 and 3 bottleneck blocks."""
    return ResNet(_bottleneck, (3, 4, 6, 3), 64, num_classes)


VGGS = {"vgg11": vgg11, "vgg13": vgg13, "vgg16": vgg16, "vgg19": vgg19}
RESNETS = {"resnet8": resnet8, "resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
_lock = Lock()  # threads share the global generator
NAMES = (*VGGS, *(f"{name}-plain" for name in VGGS), *RESNETS)  # plain: without batch norm


def build(name: str, num_classes: int, seed: int = 0) -> nn.Module:
    """The network of that name on the CPU, initialised from ``seed``: equal seeds, equal weights.

    torch's generators are left as they were. Raises ValueError for a name that is not in NAMES.
    """
    if name not in NAMES:
        raise ValueError(f"no model is called {name!r}: choose from {', '.join(NAMES)}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}: count the labels")
    # torch initialises modules from the global generator only. The CPU's is seeded and put back;
    # torch.manual_seed would seed every GPU's as well.
    with _lock, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if name in RESNETS:
            return RESNETS[name](num_classes)
        return VGGS[name.removesuffix("-plain")](num_classes, not name.endswith("-plain"))
