"""Where Alembic finds the connection: it is given by `experiments.migrations`."""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(
        url=context.config.get_main_option("sqlalchemy.url"),
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
else:
    context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
