"""Images that pass by row by row: PNG and TIFF without ever being in memory whole."""
