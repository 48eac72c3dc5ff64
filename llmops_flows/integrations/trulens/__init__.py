"""TruLens: its RAG triad with any model as the judge, and its database, leaderboard and dashboard for our traces."""
