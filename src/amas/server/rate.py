"""How fast something goes, from a counter that others keep and this process looks at now and then."""

from collections import deque

WINDOW_S = 60.0
SAMPLE_EVERY_S = 1.0
"""Looks that are closer than this are one: a rate over less is noise."""


class Rate:
    """How fast a counter grows, over the samples that this process took in the last minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, count: int, *, at_s: float) -> float | None:
        """Note the counter and return its growth a second; None while there is nothing to compare with."""
        while self._samples and (self._samples[0][0] < at_s - WINDOW_S or self._samples[0][1] > count):
            self._samples.popleft()  # too old, or of an engine that has begun anew
        oldest = self._samples[0] if self._samples else None
        if not self._samples or at_s - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((at_s, count))
        if oldest is None or at_s - oldest[0] < SAMPLE_EVERY_S:
            return None
        return (count - oldest[1]) / (at_s - oldest[0])
