"""The networks: their sizes by formula, their shapes, and their initialisation.

Without this file a network could stop being the paper's, or its weights depend on more than the
seed, and the trainings would run on.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from efsgd.deep import models  # noqa: E402

CONVOLUTIONS = {  # configurations A, B, D, E of Simonyan and Zisserman, arXiv 1409.1556, table 1
    "vgg11": (64, 128, 256, 256, 512, 512, 512, 512),
    "vgg13": (64, 64, 128, 128, 256, 256, 512, 512, 512, 512),
    "vgg16": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    "vgg19": (64,) * 2 + (128,) * 2 + (256,) * 4 + (512,) * 8,
}
BLOCKS = {  # of each stage: arXiv 1512.03385, table 1; section 4.2 with n = 1
    "resnet8": (1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}


def vgg_size(name: str, classes: int) -> int:
    widths = CONVOLUTIONS[name.removesuffix("-plain")]
    convolutions = sum(9 * i * o + o for i, o in pairwise((3, *widths)))
    norms = 0 if name.endswith("-plain") else 2 * sum(widths)
    return convolutions + norms + 512 * classes + classes


def block_size(channels: int, width: int, bottleneck: bool) -> int:
    """Convolutions without bias, each with the scale and shift of its batch norm."""
    if bottleneck:
        return channels * width + 9 * width**2 + 4 * width**2 + 2 * (width + width + 4 * width)
    return 9 * channels * width + 9 * width**2 + 2 * (width + width)


def resnet_size(name: str, classes: int) -> int:
    width = 16 if name == "resnet8" else 64
    expansion = 4 if name == "resnet50" else 1
    size, channels = 27 * width + 2 * width, width
    for stage, depth in enumerate(BLOCKS[name]):
        inner = width * 2**stage
        for i in range(depth):
            size += block_size(channels, inner, expansion > 1)
            if i == 0 and (stage > 0 or expansion > 1):  # the shape changes: projection
                size += channels * expansion * inner + 2 * expansion * inner
            channels = expansion * inner
    return size + channels * classes + classes


def size_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_every_function_has_its_name_and_every_vgg_a_plain_form() -> None:
    plain = {f"{name}-plain" for name in CONVOLUTIONS}
    assert {*models.NAMES} == {*CONVOLUTIONS, *plain, *BLOCKS}
    assert len(models.NAMES) == len({*models.NAMES})


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", models.NAMES)
def test_the_number_of_parameters_follows_from_the_architecture(name: str, classes: int) -> None:
    formula = vgg_size if name.startswith("vgg") else resnet_size
    with torch.device("meta"):
        function = getattr(models, name.removesuffix("-plain"))
        options = {"batch_norm": False} if name.endswith("-plain") else {}
        network = function(classes, **options)
    assert size_of(network) == formula(name, classes)


def test_two_numbers_of_parameters_that_are_known() -> None:
    """The models of github.com/kuangliu/pytorch-cifar have as many."""
    with torch.device("meta"):
        assert size_of(models.vgg19(10)) == 20_040_522
        assert size_of(models.resnet18(100)) == 11_220_132


@pytest.mark.parametrize("name", models.NAMES)
def test_shapes_and_a_gradient_for_every_parameter(name: str) -> None:
    network = models.build(name, 7)
    normed = nn.BatchNorm2d in map(type, network.modules())
    assert normed is not name.endswith("-plain")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = network(x)
    assert logits.shape == (2, 7)
    nn.functional.cross_entropy(logits, torch.tensor([1, 5])).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    dead = [key for key, p in network.named_parameters() if not p.grad.any()]
    # A bias before batch norm is subtracted again: its gradient is zero but for rounding.
    assert all(key.endswith("bias") for key in dead)


def test_the_images_shrink_as_in_the_papers_networks() -> None:
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        assert models.build("vgg11", 10).features(x).shape == (1, 512, 1, 1)
        resnet18, resnet8 = models.build("resnet18", 10), models.build("resnet8", 10)
        assert resnet18.blocks(resnet18.stem(x)).shape == (1, 512, 4, 4)
        assert resnet8.blocks(resnet8.stem(x)).shape == (1, 64, 8, 8)


@pytest.mark.parametrize("width", [4, 16])
def test_resnet8_of_another_width(width: int) -> None:
    with torch.device("meta"):
        network = models.resnet8(10, width=width)
    assert [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)] == [
        *(width,) * 3,  # stem and first block
        *(2 * width,) * 3,  # second block and its projection
        *(4 * width,) * 3,
    ]


def test_a_block_adds_its_shortcut() -> None:
    """With the body's last scale at zero a block without projection is relu."""
    block = models.build("resnet8", 10).blocks[0].eval()
    nn.init.zeros_(block.body[-1][1].weight)
    x = torch.randn(1, 16, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("name", ["resnet8", "vgg11-plain"])
def test_the_seed_decides_the_weights(name: str) -> None:
    weights = [
        torch.cat([p.flatten() for p in models.build(name, 10, seed).parameters()])
        for seed in (3, 3, 4)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_initialisation_is_torchs_default() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        expected = models.resnet8()
    for built, default in zip(
        models.build("resnet8", 10, seed=5).parameters(), expected.parameters(), strict=True
    ):
        assert torch.equal(built, default)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    models.build("resnet8", 10, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_build_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the global generator: two that were inside at once would meet at the barrier."""
    both, met, resnet8 = threading.Barrier(2), [], models.resnet8

    def slow(classes: int) -> models.ResNet:
        with suppress(threading.BrokenBarrierError):
            met.append(both.wait(timeout=0.3))
        return resnet8(classes)

    monkeypatch.setitem(models.RESNETS, "resnet8", slow)
    threads = [threading.Thread(target=models.build, args=("resnet8", 10)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == []


def test_a_network_is_built_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        assert next(models.build("resnet8", 10).parameters()).device.type == "cpu"


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"no model is called 'vgg20': choose from vgg11, .*8"):
        models.build("vgg20", 10)
    with pytest.raises(ValueError, match="num_classes must be at least 1, not 0"):
        models.build("resnet8", 0)
