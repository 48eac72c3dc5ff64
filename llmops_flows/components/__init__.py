"""Everything that a config can name: one folder for each config group, with the same names as in conf/."""
