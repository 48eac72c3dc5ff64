"""LangChain: flows as Runnables, and its components as stages."""
