"""Results for people: statistics, result files, leaderboard, comparison, tables and the HTML page."""
