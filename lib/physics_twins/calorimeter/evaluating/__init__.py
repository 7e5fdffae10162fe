"""Parts of the evaluation of showers: their numbers, and how far two sets of showers are apart."""
