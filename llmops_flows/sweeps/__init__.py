"""Everything about many configs: the grid, planning, workers, resume, search, early stopping."""
