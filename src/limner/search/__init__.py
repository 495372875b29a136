"""Search a table of pictures by text."""
