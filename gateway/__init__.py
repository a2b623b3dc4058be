"""The HTTP door: what readers' programs call. `app.create_app` puts it together, `__main__` runs
it."""
