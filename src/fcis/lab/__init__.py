"""What measures: speed, memory, and the paper's tables."""
