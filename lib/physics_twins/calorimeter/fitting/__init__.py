"""The twin fitted to measured showers: their likelihood, its maximum, and how good that is."""
