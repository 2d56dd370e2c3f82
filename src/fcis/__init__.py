"""FCIS: instance segmentation with position-sensitive inside/outside score maps.

import fcis

predictor = fcis.load("runs/cells")
instances = predictor.predict("cells.png")
"""

from fcis.api import load as load
from fcis.core.errors import InputError as InputError
from fcis.imaging.instances import Instances as Instances
