"""How long a training may take before it counts as hung: by silence, and by what others of its kind took for their cost.

A worker is heard of at every epoch, and in between by signs of life. A process that spins for ever gives those too, so
there is also an end to the whole training: many times what the slowest one took for as many multiply-adds and epochs.
"""

from __future__ import annotations

SILENCE_S = 900.0  # without a sign of life: loading a model, evaluating, saving
LEAST_S = 900.0  # that any training may take
FACTOR = 10.0  # times longer than the slowest before it, for its cost


class Patience:
    """Learns from trainings that ended well; `kind` tells detection from classification."""

    def __init__(self, silence_s: float = SILENCE_S, least_s: float = LEAST_S, factor: float = FACTOR) -> None:
        self.silence_s = silence_s
        self._least_s = least_s
        self._factor = factor
        self._slowest: dict[str, float] = {}

    def learn(self, kind: str, cost: float, seconds: float) -> None:
        """A training of that cost (multiply-adds times epochs) ended well after so many seconds."""
        self._slowest[kind] = max(self._slowest.get(kind, 0.0), seconds / cost)

    def limit_s(self, kind: str, cost: float) -> float | None:
        """Seconds that a training may take in all; None: nothing is known yet."""
        slowest = self._slowest.get(kind)
        return None if slowest is None else max(self._least_s, self._factor * slowest * cost)

    def verdict_on_start(self, silent_s: float) -> str | None:
        """Why a worker that is not ready yet counts as hung; None: it does not."""
        return f"not ready after {silent_s:.0f} s" if silent_s > self.silence_s else None

    def verdict(self, kind: str, cost: float, silent_s: float, running_s: float) -> str | None:
        """Why a training counts as hung; None: it does not."""
        if silent_s > self.silence_s:
            return f"no sign of life for {silent_s:.0f} s"
        limit_s = self.limit_s(kind, cost)
        if limit_s is not None and running_s > limit_s:
            return f"not done after {running_s:.0f} s; {limit_s:.0f} s are enough for what it costs"
        return None
