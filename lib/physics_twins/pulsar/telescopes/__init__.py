"""A telescope in numbers: what is fitted to a recording, and drawn again without end."""
