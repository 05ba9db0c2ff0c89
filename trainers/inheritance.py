"""Inheritance: the tensors a child detector takes from its parent, with every tensor of both accounted for.

Main-path blocks correspond by block id (`lineage.morphism`), stages by index, branches by path and stage, everything
else by name. A tensor that has a source of equal shape is copied. What is new is placed so that the function stays and
the new part is alive: it can learn from the second step on at the latest.

| new | starts as |
| --- | --- |
| residual block | identity: zero gamma on its last norm only |
| projection shortcut | identity where channels allow, else Kaiming; never zero, everything behind it would see zeros |
| branch | copy of the parent's main path, behind a fusing norm with zero gamma |
| stage | a pyramid lateral of zeros, and a copy of the last level's output convolution |

A gate is shut only where it lets into something that the parent's function runs through: two shut gates in a row would
hold up learning, so inside a stage or branch that is itself new, or behind a new fusing norm, a gate stands `AJAR`.
SP-NAS (CVPR 2020), sections 3.2 and 3.3.
This module must not know how the parent was trained or where its tensors were read from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lineage.morphism import Blueprint, correspondence
from trainers.backbone import PREFIX
from trainers.errors import CheckpointError, TrainerError

AJAR = 0.1


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Where a child's tensors come from, by name: copied, adapted or new; what it took nothing of is dropped."""

    copied: tuple[str, ...]
    adapted: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]


@torch.no_grad()
def inherit(
    child: nn.Module,
    child_blueprint: Blueprint,
    parent_state: Mapping[str, Tensor],
    parent_blueprint: Blueprint,
    backbone_state: Mapping[str, Tensor] | None = None,
    backbone_only: bool = False,
) -> Inheritance:
    """Load the parent's tensors into a freshly initialised child, in place.

    Args:
        child: a detector with an SpNet as ``backbone`` and an SpFPN as ``neck``, its ``init_weights`` already called.
        child_blueprint: that of the child's backbone.
        parent_state: tensors of the parent detector, by name. It may have another neck or other heads than the child,
            or none: what does not fit stays as the child was initialised.
        parent_blueprint: that of the parent's backbone.
        backbone_state: tensors of a backbone of the parent's blueprint, named as in SpNet, to use in place of the
            parent's own (the outcome of a reignition).
        backbone_only: leave neck and heads as the child was initialised.

    Raises:
        TrainerError: the blueprint is not the child's.
        CheckpointError: the parent's state lacks tensors that its blueprint says it has.
    """
    if child.backbone.genotype != child_blueprint.genotype:
        raise TrainerError(
            f"inheriting: the child was built as {child.backbone.genotype}, its blueprint says "
            f"{child_blueprint.genotype}; build the child from its blueprint"
        )
    if backbone_state is not None:
        rest = {name: tensor for name, tensor in parent_state.items() if not name.startswith(PREFIX)}
        parent_state = rest | {PREFIX + name: tensor for name, tensor in backbone_state.items()}
    kinship = _Kinship(child_blueprint, parent_blueprint)
    ledger = _Ledger(child.state_dict(), parent_state)
    _copy(ledger, kinship, backbone_only)
    _start_blocks(child, ledger, kinship)
    _start_branches(child, ledger, kinship)
    if any(name.startswith("neck.") for name in ledger.copied):
        _start_neck(child.neck, ledger, len(parent_blueprint.genotype.stages))
    return ledger.account()


@dataclass(frozen=True)
class _Kinship:
    """What corresponds between two backbones. Path 0 is the main path, path k the k-th branch."""

    child: Blueprint
    parent: Blueprint

    def inherited(self, path: int, stage: int) -> bool:
        """Whether the parent, too, runs `stage` on `path`."""
        counts = self.parent.genotype.parallel
        return stage < len(counts) and counts[stage] >= path

    def blocks(self) -> Iterator[tuple[int, int, str, str | None]]:
        """Every block of the child: its path and stage, its name, and the parent's name for it if it has one."""
        origins = correspondence(self.parent, self.child)
        main = tuple((0, stage) for stage in range(len(self.child.genotype.stages)))
        for path, stage in (*main, *self.branch_stages()):
            for index in range(len(self.child.genotype.stages[stage])):
                origin = origins.get((stage, index))
                source = None
                if origin is not None:
                    source = _block_name(path if self.inherited(path, origin[0]) else 0, *origin)
                yield path, stage, _block_name(path, stage, index), source

    def branch_stages(self) -> Iterator[tuple[int, int]]:
        """(path, stage) of every branch stage of the child."""
        for path, stages in enumerate(self.child.genotype.branches, start=1):
            for stage in stages:
                yield path, stage


def _block_name(path: int, stage: int, index: int) -> str:
    return f"{_branch_name(path, stage)}.blocks.{index}" if path else f"backbone.stages.{stage}.{index}"


def _branch_name(path: int, stage: int) -> str:
    return f"backbone.branches.{path}.{stage}"


@dataclass
class _Ledger:
    """The child's tensors, the parent's, and who took what from where."""

    child: dict[str, Tensor]
    parent: Mapping[str, Tensor]
    copied: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)

    def fits(self, name: str, source: str) -> bool:
        return source in self.parent and self.parent[source].shape == self.child[name].shape

    def under(self, prefix: str) -> list[str]:
        return [name for name in self.child if name.startswith(f"{prefix}.")]

    def account(self) -> Inheritance:
        used = {*self.copied.values(), *self.adapted.values()}
        return Inheritance(
            copied=tuple(self.copied),
            adapted=tuple(self.adapted),
            new=tuple(name for name in self.child if name not in self.copied and name not in self.adapted),
            dropped=tuple(name for name in self.parent if name not in used),
        )


def _copy(ledger: _Ledger, kinship: _Kinship, backbone_only: bool) -> None:
    """Copy every tensor that has a source of equal shape; a fusing layer as a whole or not at all."""
    sources: dict[str, str | None] = {
        name: name for name in ledger.child if name.startswith(PREFIX) or not backbone_only
    }
    for _, _, block, source in kinship.blocks():
        for name in ledger.under(block):
            sources[name] = None if source is None else source + name.removeprefix(block)
    for path, stage in kinship.branch_stages():
        fuse = ledger.under(f"{_branch_name(path, stage)}.fuse")
        changed = any(name in ledger.parent and not ledger.fits(name, name) for name in fuse)
        if changed or not kinship.inherited(path, stage):
            sources |= dict.fromkeys(fuse)
    missing = [
        source
        for name, source in sources.items()
        if name.startswith(PREFIX) and source is not None and source not in ledger.parent and not _optional(source)
    ]
    if missing:
        raise CheckpointError(
            f"inheriting from {kinship.parent.genotype}: its weights lack {len(missing)} tensors that this code has, "
            f"the first is {missing[0]}; the checkpoint is of another network"
        )
    for name, source in sources.items():
        if source is not None and ledger.fits(name, source):
            ledger.child[name].copy_(ledger.parent[source])
            ledger.copied[name] = source


def _optional(name: str) -> bool:
    """Whether a corresponding block or stage may have this without its parent having it."""
    return ".downsample." in name or name.endswith(".mix")


def _gate(ledger: _Ledger, kinship: _Kinship, path: int, stage: int) -> float:
    """Gamma of a new gate that lets something into this place: zero where the parent's function runs through it."""
    runs = kinship.inherited(path, stage) and all(
        f"{_branch_name(above, stage)}.fuse.norm.weight" in ledger.copied for above in range(1, path + 1)
    )
    return 0.0 if runs else AJAR


def _start_blocks(child: nn.Module, ledger: _Ledger, kinship: _Kinship) -> None:
    """Let new blocks start as their shortcut, and new shortcuts as identities."""
    for path, stage, name, source in kinship.blocks():
        block = child.get_submodule(name)
        if source is None:
            block.last_norm.weight.fill_(_gate(ledger, kinship, path, stage))
        if block.downsample is not None and f"{name}.downsample.0.weight" not in ledger.copied:
            projection = block.downsample[0]
            if projection.in_channels == projection.out_channels:
                nn.init.dirac_(projection.weight)


def _start_branches(child: nn.Module, ledger: _Ledger, kinship: _Kinship) -> None:
    """Shut the gates of new fusing layers; let an old branch stage go on reading the main path."""
    for path, stage in kinship.branch_stages():
        name = _branch_name(path, stage)
        branch = child.get_submodule(name)
        if f"{name}.fuse.norm.weight" not in ledger.copied:
            branch.fuse["norm"].weight.fill_(_gate(ledger, kinship, path - 1, stage))
        if branch.mix is not None and f"{name}.mix" not in ledger.copied and kinship.inherited(path, stage):
            branch.mix.zero_()


def _start_neck(neck: nn.Module, ledger: _Ledger, stages: int) -> None:
    """Fit the pyramid to stages whose channels changed, and to those beyond the parent's number of `stages`."""
    for stage, lateral in enumerate(neck.lateral_convs):
        name = f"neck.lateral_convs.{stage}.conv.weight"
        if stage >= stages:
            for parameter in (lateral.norm if lateral.with_norm else lateral.conv).parameters():
                parameter.zero_()
            for theirs in (name for name in ledger.parent if name.startswith(f"neck.fpn_convs.{stages - 1}.")):
                ours = theirs.replace(f".{stages - 1}.", f".{stage}.", 1)
                if ledger.fits(ours, theirs):
                    ledger.child[ours].copy_(ledger.parent[theirs])
                    ledger.adapted[ours] = theirs
        elif name not in ledger.copied and name in ledger.parent:
            ours, theirs = ledger.child[name], ledger.parent[name]
            if ours.size(0) == theirs.size(0):
                channels = min(ours.size(1), theirs.size(1))
                ours.zero_()
                ours[:, :channels].copy_(theirs[:, :channels])
                ledger.adapted[name] = name
