"""What a bundle brings for devices: tables and data in place of what would have to be parsed."""
