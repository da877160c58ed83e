"""A recipe: which matrix is stored in which format, as a small file says, and how it is chosen."""

from .file import read_recipe
from .groups import groups_of, linears_of
from .scheme import formats_of, recipe_of, scheme_of

__all__ = ["formats_of", "groups_of", "linears_of", "read_recipe", "recipe_of", "scheme_of"]
