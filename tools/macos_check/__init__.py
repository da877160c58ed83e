"""What the owner of a Mac runs to see what Core ML makes of a bundle."""
