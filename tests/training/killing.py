"""A program: train undisturbed, then again with the process killed at random moments.

    python killing.py FOLDER RECIPE_JSON KILLS SEED

It prints how many kills there were and the folders of the finished runs. Attempts are forks of
one process, because imports would take most of the time.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.as_json import from_json
from fcis.recipe.types import Recipe
from fcis.training.run import train


def attempt(recipe: Recipe, folder: Path, seconds: float | None) -> bool:
    """Go on with a run; return whether it ended by itself before it was killed."""
    child = os.fork()
    if child == 0:
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            train(recipe, scene_dataset(12, 1), scene_dataset(2, 2), folder, resume=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # nothing happens to one that has ended
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("a resumed run failed")
    return True


def main() -> None:
    folder, recipe = Path(sys.argv[1]), from_json(Recipe, json.loads(sys.argv[2]), "recipe")
    kills, rng = int(sys.argv[3]), random.Random(int(sys.argv[4]))
    begun = time.monotonic()
    attempt(recipe, folder / "whole", None)
    whole = time.monotonic() - begun
    killed, finished = 0, []
    while killed < kills:
        run = folder / f"torn-{len(finished)}"
        if attempt(recipe, run, rng.uniform(0, 0.4 * whole)):
            finished.append(run)
        else:
            killed += 1
    run = folder / f"torn-{len(finished)}"
    attempt(recipe, run, None)
    print(json.dumps({"kills": killed, "runs": [str(f) for f in (*finished, run)]}))


if __name__ == "__main__":
    main()
