"""How fast and how large the parts are, beside other ways of doing the same."""
