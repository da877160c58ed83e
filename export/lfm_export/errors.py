"""What an export can be refused for; all of one family with the SDK's errors."""

from lfm_edge.errors import LfmError

__all__ = ["ArchitectureError", "CheckpointError", "ExportError", "WorkersLostError"]


class CheckpointError(LfmError):
    """A checkpoint is missing, truncated, or lacks, adds or misshapes a tensor."""


class ArchitectureError(LfmError):
    """A config.json describes a model that this version does not know, or contradicts itself."""


class ExportError(LfmError):
    """The export's own options do not fit the model, or the bundle cannot be written."""


class WorkersLostError(ExportError):
    """A cluster lost its workers or has no room; what was done until then stays good."""
