"""Files in which others keep showers."""
