"""SpNet is the network its code says: torchvision's with torchvision's weights, and SP-NAS's parallel form."""

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from torch import nn

from lineage.architecture import Genotype, GenotypeError
from trainers.backbone import SpNet, from_torchvision
from trainers.weights import TORCHVISION

torch.set_num_threads(1)

COMPARED = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d")


def as_if_trained(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm layer, gates included, statistics and parameters that matter."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.mark.parametrize("name", COMPARED)
def test_with_the_same_weights_it_is_torchvisions_network(name):
    theirs = as_if_trained(torchvision.models.get_model(name, weights=None)).eval()
    ours = SpNet(TORCHVISION[name])
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    ours.eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        x, expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images)))), []
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
            expected.append(x)
        features = ours(images)
    assert min(feature.std().item() for feature in features) > 0.01, "the features say nothing"
    difference = max((a - b).abs().max().item() for a, b in zip(features, expected, strict=True))
    assert difference <= 1e-5, f"{name}: largest difference {difference:.2e}"


@pytest.mark.parametrize(
    "code", ["b_1_0", "r_11-12-2_0-1-0", "x(4x16d)_12-1-211_2-0-1", "b_" + "-".join("1" * 9) + "_" + "-".join("1" * 9)]
)
def test_features_have_the_channels_and_strides_of_the_code(code):
    net = SpNet(code, base_width=8).eval()
    features = net(torch.randn(1, 3, 96, 64))
    assert net.out_channels == Genotype.parse(code).stage_channels(8)
    assert tuple(feature.size(1) for feature in features) == net.out_channels
    for stage, feature in enumerate(features):
        stride = 4 * 2**stage
        assert feature.shape[2:] == (-(-96 // stride), -(-64 // stride))


def by_hand(net: SpNet, images: torch.Tensor) -> list[torch.Tensor]:
    """The parallel network for code b_1-2-2_1-2-1, written out."""

    def fuse(stage, out, size):
        return nn.functional.interpolate(stage.fuse["norm"](stage.fuse["conv"](out)), size=size, mode="nearest")

    branches = {(int(k), int(i)): stage for k, path in net.branches.items() for i, stage in path.items()}
    x0 = nn.functional.max_pool2d(net.bn1(net.conv1(images)).relu(), 3, 2, 1)
    first_0 = branches[1, 0].blocks(x0)
    x1 = net.stages[0](x0 + fuse(branches[1, 0], first_0, x0.shape[2:]))
    second_1 = branches[2, 1].blocks(x1)  # branch 2 does not run stage 0: it reads the main path
    first_1 = branches[1, 1].blocks(first_0 + fuse(branches[2, 1], second_1, x1.shape[2:]))
    x2 = net.stages[1](x1 + fuse(branches[1, 1], first_1, x1.shape[2:]))
    first_2 = branches[1, 2].blocks(first_1)
    return [x1, x2, net.stages[2](x2 + fuse(branches[1, 2], first_2, x2.shape[2:]))]


@pytest.mark.parametrize("training", [False, True])
def test_branches_feed_the_path_above_from_the_deepest_up(training):
    net = as_if_trained(SpNet("b_1-2-2_1-2-1", base_width=8)).train(training)
    images = torch.randn(2, 3, 50, 70)  # odd sizes on the way down
    with torch.no_grad():
        features, expected = net(images), by_hand(net, images)
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_fresh_branch_leaves_the_main_path_alone():
    serial, parallel = SpNet("b_11-21_0-0", base_width=8), SpNet("b_11-21_2-1", base_width=8)
    parallel.load_state_dict(parallel.state_dict() | serial.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for ours, theirs in zip(parallel(images), serial(images), strict=True):
        assert torch.equal(ours, theirs)


def test_branches_have_weights_of_their_own():
    net = SpNet("b_1-2_2-1", base_width=8)
    storages = [tensor.data_ptr() for tensor in net.state_dict().values()]
    assert len(set(storages)) == len(storages)
    assert {name.split(".conv1")[0] for name in net.state_dict() if "branches" in name and "conv1" in name} == {
        "branches.1.0.blocks.0",
        "branches.1.1.blocks.0",
        "branches.2.0.blocks.0",
    }


def test_images_and_features_are_not_changed_in_place():
    net = as_if_trained(SpNet("b_1-2_1-1", base_width=8)).eval()
    images = torch.randn(1, 3, 64, 64)
    before = images.clone()
    x = net.stages[0](torch.randn(1, 8, 16, 16))
    kept = x.clone()
    net.stages[1](x)
    net.branches["1"]["1"](x, x, -x)
    net(images)
    assert torch.equal(images, before)
    assert torch.equal(x, kept)


def test_initialisation_scales_convolutions_and_shuts_fusing_norms():
    net = as_if_trained(SpNet("r_11-21_1-1", base_width=16))
    net.init_weights()
    weight = net.stages[1][1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.1)
    gates = [tensor for name, tensor in net.state_dict().items() if name.endswith("fuse.norm.weight")]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(gates) == 2
    assert all((gate == 0).all() for gate in gates)
    assert sum((norm.weight == 1).all().item() for norm in norms) == len(norms) - len(gates)


def test_frozen_stages_and_norms_stay_frozen_in_training():
    net = SpNet("b_1-2-2_0-0-1", base_width=8, norm_eval=True, frozen_stages=1).train()
    frozen = {name.split(".")[0] + name.split(".")[1] for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1weight", "bn1weight", "bn1bias", "stages0"}
    assert not any(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d))
    before = net.bn1.running_mean.clone()
    net(torch.randn(2, 3, 64, 64))
    assert torch.equal(net.bn1.running_mean, before)


def test_norms_follow_the_templates_norm_cfg():
    net = SpNet("b_1-2_1-0", base_width=8, norm_cfg={"type": "GN", "num_groups": 4})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert isinstance(net.branches["1"]["0"].fuse["norm"], nn.GroupNorm)


def test_mmdet_builds_it_by_name():
    net = MODELS.build({"type": "SpNet", "code": "b_1-2_0-0", "base_width": 8})
    assert isinstance(net, SpNet)


def test_an_impossible_code_is_refused():
    with pytest.raises(GenotypeError, match="no genotype code"):
        SpNet("resnet50")
