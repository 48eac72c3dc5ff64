"""Run the jobs of a Hydra sweep as Ray tasks."""
