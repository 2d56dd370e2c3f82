"""FCIS: instance segmentation with position-sensitive inside/outside score maps.

import fcis

predictor = fcis.load("runs/cells")
instances = predictor.predict("cells.png")
"""

from fcis.api import calibrate as calibrate
from fcis.api import check_dataset as check_dataset
from fcis.api import describe as describe
from fcis.api import evaluate as evaluate
from fcis.api import load as load
from fcis.api import named_recipe as named_recipe
from fcis.api import open_dataset as open_dataset
from fcis.api import train as train
from fcis.core.errors import InputError as InputError
from fcis.imaging.instances import Instances as Instances
