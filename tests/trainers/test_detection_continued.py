"""A detection training that is cut off goes on where it was."""

from __future__ import annotations

import pytest
import torch
from detecting import Outcome, train

from lineage.events import EpochFinished, Event
from trainers.detection import DetectionTrainer
from trainers.protocol import NetworkRef, WorkerSetup

pytestmark = pytest.mark.usefixtures("in_workdir")
torch.set_num_threads(1)


class Cut(Exception):
    """In place of a process that is killed."""


def test_a_training_that_was_cut_off_goes_on_after_its_last_epoch_and_ends_with_the_same_weights(
    trainer: DetectionTrainer, seed: Outcome, seed_network: NetworkRef, setup: WorkerSetup
) -> None:
    def cut(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochFinished) and event.epoch == epoch:
            raise Cut

    whole = train(trainer, seed_network, epochs=4, job_id="j-whole")
    for epoch in (1, 3):
        events: list[Event] = []
        with pytest.raises(Cut):
            train(trainer, seed_network, epochs=4, emit=cut, job_id="j-cut")
        torch.manual_seed(99)
        rest = train(trainer, seed_network, epochs=4, job_id="j-cut", attempt=2)
        assert [event.epoch for event in rest.events] == list(range(max(1, epoch), 5))
        assert rest.finished.checkpoint == whole.finished.checkpoint
        assert (rest.finished.ap, rest.finished.ap50) == (whole.finished.ap, whole.finished.ap50)
    assert not list(setup.checkpoints.glob("*.unfinished"))
