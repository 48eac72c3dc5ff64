"""Where answers are kept: SQLite, Redis, PostgreSQL, memory."""
