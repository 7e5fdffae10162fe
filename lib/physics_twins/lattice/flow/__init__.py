"""A continuous flow for phi^4 with all symmetries of the lattice, and the path that it follows."""
