"""Core AI bundles, run by the interpreter of Apple's `coreai-core`, on Linux too."""
