"""What the export compiles for phones, so that they parse nothing: the bundle's `device.bin`."""

from .device_file import add_device_file

__all__ = ["add_device_file"]
