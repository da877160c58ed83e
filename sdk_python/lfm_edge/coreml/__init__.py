"""Core ML bundles: the saved package read, evaluated anywhere and, on a Mac, run by Core ML."""
