"""A worker process that starts well, and then says what no worker can mean."""

import os
import sys
import time

from lineage.events import RunFinished, WorkerStarted, to_json
from trainers.protocol import WorkerSetup


def main() -> None:
    mode, out = sys.argv[1], sys.stdout.buffer
    setup = WorkerSetup.model_validate_json(sys.stdin.readline())
    out.write(to_json(WorkerStarted(device=setup.device, name="hostile")).encode() + b"\n")
    lie = to_json(RunFinished(outcome="completed", reason="so it says")).encode() + b"\n"
    out.write(
        {
            "lie": lie * 3,
            "long": b"x" * 2**23 + b"\n" + lie,
            "deep": b"[" * 100_000 + b"\n" + lie,
            "binary": bytes(range(256)) + b"\n" + lie,
            "last_words": lie.rstrip(),
            "silence": b"",
        }[mode]
    )
    out.flush()
    if mode in ("last_words", "silence"):
        os._exit(0)
    time.sleep(60)


main()
