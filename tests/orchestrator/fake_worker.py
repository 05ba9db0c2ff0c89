"""A worker process without torch, which behaves as its argument says: see `main`."""

import os
import signal
import sys
import time

from lineage.events import JobFinished, WorkerStarted, to_json
from trainers.protocol import JOB, SIGN_OF_LIFE, STOP, WorkerSetup


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
    once = setup.logs / f"was-here-{setup.device}"
    if mode == "refuse_later" and once.exists():
        say('{"setup_error": "the template is gone"}')
        sys.exit(2)
    if mode == "slow_start" and not once.exists():
        once.touch()
        time.sleep(60)
    say(to_json(WorkerStarted(device=setup.device, name="fake")))
    while (line := sys.stdin.readline()) and line.strip() != STOP.decode():
        job = JOB.validate_json(line)
        if mode == "die" and job.attempt == 1:
            os._exit(9)
        if mode == "die_of_one" and job.job_id == "j-s-0002":
            os._exit(9)
        if mode == "fork" and not once.exists():  # what its template starts holds the pipe open
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            once.write_text("")
            os._exit(9)
        if mode == "fork_and_finish" and not once.exists():
            if (child := os.fork()) == 0:
                time.sleep(60)
                os._exit(0)
            once.write_text(str(child))
        if mode == "refuse_later" and job.job_id != "j-s-0001":
            once.touch()
            os._exit(9)
        if mode == "hang_once" and job.job_id == "j-s-0002":
            time.sleep(60)
        if mode == "stop" and job.job_id == "j-s-0002" and job.attempt == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if mode == "hang" and job.job_id == "j-s-0002" and job.attempt == 1:
            time.sleep(60)
        while mode == "spin" and job.job_id == "j-s-0002" and job.attempt == 1:
            say(SIGN_OF_LIFE.decode())
            time.sleep(0.05)
        if mode == "linger":  # only attempts after the first are short
            if job.attempt == 1 and job.job_id == "j-s-0001":
                os._exit(9)
            time.sleep(0.6 if job.attempt == 1 else 0)
        if mode == "wait_for_stop" and job.job_id != "j-s-0001":
            assert sys.stdin.readline().strip() == STOP.decode()
            if job.job_id == "j-s-0002":
                say(to_json(JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="c" * 64, ap=0.5)))
            return  # the epoch of another is kept
        if mode == "babble" and job.attempt == 1:
            say("what is this")
            continue
        say(to_json(JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="c" * 64, ap=0.5)))


main()
