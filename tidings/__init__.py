"""What every Tidings process shares. Nothing here imports a process; see `setup.cfg` for the
law."""
