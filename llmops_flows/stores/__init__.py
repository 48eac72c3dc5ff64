"""Where answers are kept: SQLite, memory."""
