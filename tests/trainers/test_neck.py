"""SpFPN gives a pyramid over any number of stages, in mmdet's own arithmetic."""

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.registry import MODELS

from trainers.neck import SpFPN

torch.set_num_threads(1)


def features(channels: list[int]) -> list[torch.Tensor]:
    return [torch.randn(2, count, max(1, 50 >> stage), max(1, 36 >> stage)) for stage, count in enumerate(channels)]


@pytest.mark.parametrize("stages", range(1, 10))
def test_there_is_a_level_for_every_stage_and_one_more(stages):
    inputs = features([4 * (stage + 1) for stage in range(stages)])
    levels = SpFPN([level.size(1) for level in inputs], 8)(inputs)
    sizes = [level.shape[2:] for level in inputs]
    sizes.append(torch.Size(-(-side // 2) for side in sizes[-1]))
    assert [level.shape for level in levels] == [(2, 8, *size) for size in sizes]


def test_its_levels_and_tensor_names_are_those_of_mmdets_fpn():
    inputs = features([4, 8, 16])
    ours, theirs = SpFPN([4, 8, 16], 8), FPN([4, 8, 16], 8, 4)
    theirs.init_weights()
    ours.load_state_dict(theirs.state_dict())
    for level, expected in zip(ours(inputs), theirs(inputs), strict=True):
        torch.testing.assert_close(level, expected)


def test_mmdet_builds_it_by_name_from_a_tuple_of_channels():
    neck = MODELS.build({"type": "SpFPN", "in_channels": (4, 8), "out_channels": 8, "num_outs": 4})
    assert isinstance(neck, SpFPN)
    assert len(neck(features([4, 8]))) == 4
