"""The points of a Hydra sweep as Ray tasks."""
