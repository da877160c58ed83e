"""The custom operators' weight format and their plain NumPy references."""
