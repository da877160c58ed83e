"""What a manifest says of the weights, held to what this version reads."""

from __future__ import annotations

from lfm_ops.formats import FORMATS
from lfm_ops.layout import LAYOUT_VERSION

from .bundle import Bundle
from .errors import BundleError, UnsupportedBundleError

__all__ = ["require_weights"]


def require_weights(bundle: Bundle, *, packed: bool) -> None:
    """Holds the weights' formats and layout to those that are known.

    Args:
        bundle: the bundle.
        packed: whether its graph is one of our operators, whose weights lie in our layout.

    Raises:
        UnsupportedBundleError: another layout, or a format that this version does not know.
        BundleError: a layout where there can be none or none where there must be one, or a method
            that makes a format which the manifest does not have.
    """
    weights, where = bundle.manifest.quantization, bundle.folder
    for stored in weights.formats:
        ours = FORMATS.get(stored.name)
        if ours is None or (ours.bits, ours.group_size) != (stored.bits, stored.group_size):
            raise UnsupportedBundleError(
                f"{where}: weights of format {stored.name} ({stored.bits} bits in groups of "
                f"{stored.group_size}), which this lfm-edge does not read; update it"
            )
    names = {stored.name for stored in weights.formats}
    for role, method in (("method", weights.method), ("head", weights.head)):
        # A method has the name of the format that it makes.
        if method not in names:
            raise BundleError(
                f"{where}: quantization has the {role} {method}, but formats are "
                f"{', '.join(sorted(names)) or 'none'}"
            )
    if packed != (weights.layout_version is not None):
        raise BundleError(
            f"{where}: layout_version is {weights.layout_version or 'null'}, but weights of target "
            f"{bundle.manifest.graph.target} lie in "
            f"{'a packed layout, which has one' if packed else 'none that has one'}"
        )
    if packed and weights.layout_version != LAYOUT_VERSION:
        raise UnsupportedBundleError(
            f"{where}: weights in layout version {weights.layout_version}, but the operators of "
            f"this lfm-edge read {LAYOUT_VERSION}; export the bundle again"
        )
