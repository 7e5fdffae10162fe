"""A stream being labelled: what is kept and why, the files that are written, and how it goes on."""
