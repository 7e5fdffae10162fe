"""Files of telescopes, format by format: read and written block by block, and never trusted."""
