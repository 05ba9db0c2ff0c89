"""A worker process without torch that behaves as its argument says: finish, die, babble, setup_error, die_at_once."""

import os
import sys

from lineage.events import JobFinished, WorkerStarted, to_json
from trainers.protocol import JOB, WorkerSetup


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    mode = sys.argv[1]
    setup = WorkerSetup.model_validate_json(sys.stdin.readline())
    if mode == "setup_error":
        say('{"setup_error": "the template is odd"}')
        sys.exit(2)
    if mode == "die_at_once":
        os._exit(7)
    say(to_json(WorkerStarted(device=setup.device, name="fake")))
    while line := sys.stdin.readline():
        job = JOB.validate_json(line)
        if mode == "die" and job.attempt == 1:
            os._exit(9)
        if mode == "babble" and job.attempt == 1:
            say("what is this")
            continue
        say(to_json(JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="c", ap=0.5)))


main()
