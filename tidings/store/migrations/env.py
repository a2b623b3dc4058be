"""What Alembic runs for each command: it migrates over the connection, and to the tables, that
`tidings.store.migrate` hands it.

Both come as attributes, so that nothing here knows what a site is made of.
"""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_as_batch=True,
    transaction_per_migration=True,
)
context.run_migrations()
