"""What everything stands on: boxes, masks, devices, COCO's types, the one error of a user."""
