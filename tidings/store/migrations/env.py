"""What Alembic runs for each command: it migrates over the connection that `tidings.store.migrate`
hands it."""

from alembic import context

from tidings.store.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=True,
)
context.run_migrations()
