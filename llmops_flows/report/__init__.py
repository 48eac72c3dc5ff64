"""What people read: tables, result files, the leaderboard, the HTML page."""
