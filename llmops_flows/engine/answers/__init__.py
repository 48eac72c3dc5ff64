"""The answer cache, single flight, and a store whose errors do not affect answers."""
