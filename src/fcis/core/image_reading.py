"""How an image is read: what recipes ask for and readers of images do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """How what an image stores becomes levels of 8 bits, in the channels of a network.

    Attributes:
        percentiles: of the values of a 16-bit or float image, what becomes 0 and 255.
        channels: of the network; 3 and 1 read RGB, other numbers what the file stores.
    """

    percentiles: tuple[float, float] = (0.1, 99.9)
    channels: int = 3

    @property
    def is_rgb(self) -> bool:
        """Tell whether the image is read as RGB."""
        return self.channels in (1, 3)


RGB = ImageReading()
