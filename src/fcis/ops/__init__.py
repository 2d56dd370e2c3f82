"""Position-sensitive RoI assembly: the definition and its fast forms."""
