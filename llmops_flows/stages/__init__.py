"""The roles of a flow, and the implementations that need no outside library."""
