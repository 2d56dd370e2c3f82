"""Files to arrays and back, and what a prediction is: images, pages, strips, videos, drawing."""
