"""Delayed jobs: promised while the site runs, done when they are due."""
