"""An example site to look at: original articles in ten channels, and readers who were simulated,
not observed."""
