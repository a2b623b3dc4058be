"""Judges what a feed would have held against what readers clicked: a log is replayed under a
simulated clock, each question knows only what was there before it, and every contender answers the
same questions in the same run."""
