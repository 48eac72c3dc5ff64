"""The commands, one module each: the file's name is the command's name, a folder is a group of commands."""
