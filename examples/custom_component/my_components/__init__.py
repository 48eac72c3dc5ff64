"""Components of this project."""
