"""What people read: tables, totals, result files."""
