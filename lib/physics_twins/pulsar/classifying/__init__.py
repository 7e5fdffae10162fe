"""Labels of frames: what a classifier learns from, the network, and what it is held against."""
