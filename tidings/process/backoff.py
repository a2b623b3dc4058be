"""How soon to try again what has just failed: the one rule of all that restarts something.

Nearly at once at first, since most failures are over in a moment, and then later and later, so that
what cannot work does not eat the machine. What has run for a while and then fails is at its first
failure again. Rejected: doubling without end; an operator who has mended the cause wants to see it
work within seconds.

    failures = failures_in_a_row(failures, lived_s)
    restart_at_s = now_s + pause_s(failures)
"""

from __future__ import annotations

STEADY_AFTER_S = 10.0
PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)


def pause_s(failures: int) -> float:
    """The wait after so many failures in a row; none after none."""
    return PAUSES_S[min(failures, len(PAUSES_S) - 1)]


def failures_in_a_row(before: int, lived_s: float) -> int:
    """The count with one more failure, of something that ran for `lived_s` until then."""
    return before + 1 if lived_s < STEADY_AFTER_S else 1
