"""Stores of answers: SQLite, Redis, PostgreSQL, memory."""
