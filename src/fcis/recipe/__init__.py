"""What a network is and how it is trained, as data: types, JSON, named recipes, conventions."""
