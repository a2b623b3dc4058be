"""Learns from what readers did: `tidings train`. Needs the extra `[train]`; serving never imports
it."""
