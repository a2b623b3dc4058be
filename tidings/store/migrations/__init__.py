"""Alembic's scripts. `tidings migrate` runs them; see `tidings.store.migrate`."""
