"""What the checks of the server share with its tests."""

from tests.sdk.server.conftest import serve, served, shipped, shipped_bundle

__all__ = ["serve", "served", "shipped", "shipped_bundle"]
