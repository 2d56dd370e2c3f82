"""Why a network found what it found: its score maps, and what an RoI reads from them."""
