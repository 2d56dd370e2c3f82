"""The most memory that a piece of work holds at once, beyond what was there before.

On a CUDA device the caching allocator counts. On a CPU torch's profiler notes each allocation and
each release of a tensor; their running sum has the peak, to the byte and without the noise of a
process's resident size. Neither sees what libraries take for themselves, nor numpy.
"""

import json
import os
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from fcis.lab.benchmark.timing import Work

_CPU = 0  # of the profiler's device types
_EVENT = "[memory]"


def peak_bytes(work: Work, device: str) -> int | None:
    """Return the most bytes that one call of the work allocates at once; None where unknown.

    What it returns counts; what existed before does not.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    return _peak_on_cpu(work) if kind == "cpu" else None


def _peak_on_cpu(work: Work) -> int:
    # its messages about devices that a CPU does not have
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"])
        for event in events
        if event["name"] == _EVENT and event["args"]["Device Type"] == _CPU
    )
    held = peak = 0
    for _, _, change in changes:
        held += change
        peak = max(peak, held)
    return peak
