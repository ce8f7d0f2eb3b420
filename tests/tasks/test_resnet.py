"""The residual networks: what distinguishes them from each other."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import resnet18, resnet34

from components.tasks.models import resnet


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: p.shape for name, p in network.named_parameters()}


def test_small_images_keep_their_size_until_the_second_stage() -> None:
    for network, x in (
        (resnet.cifar100_resnet18(), torch.rand(2, 3, 32, 32)),
        (resnet.fashion_mnist_resnet18(), torch.rand(2, 1, 28, 28)),
    ):
        seen: dict[str, torch.Size] = {}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            network.get_submodule(name).register_forward_hook(
                lambda module, args, out, name=name, seen=seen: seen.update({name: out.shape[1:]})
            )
        network(x)
        side = x.shape[-1]
        sides = [side, side // 2, side // 4, -(-side // 8)]
        assert [s[1] for s in seen.values()] == sides
        assert [s[0] for s in seen.values()] == [64, 128, 256, 512]


def test_only_stem_and_projection_differ_from_the_standard() -> None:
    standard = shapes(resnet18(num_classes=100))
    cifar = shapes(resnet.cifar100_resnet18())
    assert cifar.keys() == standard.keys()
    assert [name for name in cifar if cifar[name] != standard[name]] == ["conv1.weight"]
    fashion = shapes(resnet.fashion_mnist_resnet18())
    projection = "layer1.0.downsample"
    assert fashion.keys() - standard.keys() == {
        f"{projection}.{n}"
        for n in (
            "0.weight",
            "1.weight",
            "1.bias",
        )
    }
    assert shapes(resnet.imagenet_resnet34()) == shapes(resnet34())


def test_authors_blocks_are_identities_at_first_and_drop_out_in_training_only() -> None:
    torch.manual_seed(0)
    network, x = resnet.cifar100_resnet18_authors(), torch.rand(4, 3, 32, 32)
    gammas = [p for name, p in network.named_parameters() if name.endswith("gamma")]
    assert len(gammas) == 8 and all(p.ndim == 0 and p == 0 for p in gammas)
    assert not torch.equal(network(x), network(x))
    network.eval()
    before = network(x)
    assert torch.equal(before, network(x))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, resnet._GatedBlock):
                nn.init.zeros_(module.residual[0].weight)
    assert torch.equal(network(x), before), "at first no residual counts"
    nn.functional.cross_entropy(network(x), torch.arange(4)).backward()
    assert all(p.grad is not None for p in gammas)
