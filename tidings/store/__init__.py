"""The database: tables, engine and migrations. SQLite embedded, MySQL or MariaDB in production."""
