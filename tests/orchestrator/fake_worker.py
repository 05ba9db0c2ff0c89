"""A worker process without torch, which behaves as its argument says: see `main`."""

import os
import sys
import time

from lineage.events import JobFinished, WorkerStarted, to_json
from trainers.protocol import JOB, SIGN_OF_LIFE, WorkerSetup


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
        if mode == "hang" and job.job_id == "j-s-0002" and job.attempt == 1:
            time.sleep(60)
        while mode == "spin" and job.job_id == "j-s-0002" and job.attempt == 1:
            say(SIGN_OF_LIFE.decode())
            time.sleep(0.05)
        if mode == "linger":  # only attempts after the first are short
            if job.attempt == 1 and job.job_id == "j-s-0001":
                os._exit(9)
            time.sleep(0.6 if job.attempt == 1 else 0)
        if mode == "babble" and job.attempt == 1:
            say("what is this")
            continue
        say(to_json(JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="c" * 64, ap=0.5)))


main()
