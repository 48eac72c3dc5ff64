"""Config files and the folders that hold them."""
