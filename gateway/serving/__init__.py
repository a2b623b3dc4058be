"""The gateway under gunicorn."""
