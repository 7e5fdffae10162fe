"""From a pulse to its parameters with errors, and the limit that noise sets to them."""
