"""Why a network found what it found: its score maps, and what a RoI reads from them."""
