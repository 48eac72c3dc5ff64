"""The shipped components: one folder per config group, with the names of conf/."""
