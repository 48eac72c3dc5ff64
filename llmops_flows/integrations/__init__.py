"""One module per outside library: the only place that names it."""
