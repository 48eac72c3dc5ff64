"""Answers and where they are stored: look-up, single flight, and a store whose errors cost no answer."""
