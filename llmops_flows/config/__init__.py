"""The only room that knows Hydra: paths, composing, building."""
