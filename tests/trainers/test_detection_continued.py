"""A detection training that is cut off goes on where it was."""

from __future__ import annotations

import pytest
import torch
from detecting import train

from lineage.events import EpochFinished, Event
from trainers.detection import DetectionTrainer
from trainers.errors import Stopped
from trainers.protocol import DetectionJob, NetworkRef, WorkerSetup
from trainers.unfinished import Unfinished

pytestmark = pytest.mark.usefixtures("in_workdir")
torch.set_num_threads(1)


class Cut(Exception):
    """In place of a process that is killed."""


def test_a_training_that_was_cut_off_goes_on_after_its_last_epoch_and_ends_with_the_same_weights(
    trainer: DetectionTrainer, seed_network: NetworkRef
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


def test_a_training_whose_end_nobody_recorded_is_not_repeated(
    trainer: DetectionTrainer, seed_network: NetworkRef
) -> None:
    whole = train(trainer, seed_network, epochs=3, job_id="j-unheard", recorded=False)
    again = train(trainer, seed_network, epochs=3, job_id="j-unheard", attempt=2)
    assert again.events == []
    assert (again.finished.checkpoint, again.finished.ap) == (whole.finished.checkpoint, whole.finished.ap)


@pytest.mark.parametrize("lost", ["optimizer", "random"])
def test_what_was_kept_and_does_not_fit_is_given_up_and_the_training_begins_anew(
    trainer: DetectionTrainer, seed_network: NetworkRef, setup: WorkerSetup, lost: str
) -> None:
    whole = train(trainer, seed_network, epochs=2, job_id="j-odd", recorded=False)
    job = DetectionJob(job_id="j-odd", attempt=1, network=seed_network, parent=None, epochs=2, seed=0)
    unfinished = Unfinished(setup.checkpoints, job, trainer.template)
    kept = unfinished.load()
    assert kept is not None
    del kept[lost]
    unfinished.save(kept)
    anew = train(trainer, seed_network, epochs=2, job_id="j-odd", attempt=2)
    assert [event.epoch for event in anew.events] == [1, 2]
    assert anew.finished.checkpoint == whole.finished.checkpoint


def test_a_training_that_is_to_stop_keeps_its_epoch_and_goes_on_to_the_same_weights(
    trainer: DetectionTrainer, seed_network: NetworkRef, setup: WorkerSetup
) -> None:
    whole = train(trainer, seed_network, epochs=3, job_id="j-whole")
    events: list[Event] = []
    with pytest.raises(Stopped, match="j-stopped was asked to stop; its last epoch is kept"):
        train(trainer, seed_network, epochs=3, events=events, job_id="j-stopped", stopping=lambda: len(events) == 2)
    assert [event.epoch for event in events] == [1, 2]
    assert list(setup.checkpoints.glob("j-stopped.*.unfinished"))
    rest = train(trainer, seed_network, epochs=3, job_id="j-stopped", attempt=2)
    assert [event.epoch for event in rest.events] == [3]
    assert rest.finished.checkpoint == whole.finished.checkpoint


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_that_is_to_stop_in_its_last_epoch_finishes(
    trainer: DetectionTrainer, seed_network: NetworkRef, epochs: int
) -> None:
    events: list[Event] = []
    stopping = {1: lambda: True, 2: lambda: len(events) == 2}[epochs]
    outcome = train(trainer, seed_network, epochs=epochs, events=events, job_id="j-last", stopping=stopping)
    assert outcome.finished.checkpoint
