"""Run the points of a sweep as jobs of a Hydra launcher."""
