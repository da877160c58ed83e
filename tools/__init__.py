"""Tools of the project; nothing here ships with the package."""
