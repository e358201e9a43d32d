"""So many runs of /bin/true through a HyperQueue of one worker on this machine: prints last the seconds that they took.

    beside.py RUNS silent|files     whether what a run prints is thrown away or kept in files, which is its default
"""

import sys
import tempfile
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

# Its client looks once a second whether all have ended: this much is taken off, in its favour.
LOOKS = 1.0

runs, outputs = int(sys.argv[1]), sys.argv[2]
keep = {} if outputs == "files" else {"stdout": None, "stderr": None}
with tempfile.TemporaryDirectory() as directory:
    with LocalCluster(server_dir=f"{directory}/server", worker_config=WorkerConfig()) as cluster:
        client = cluster.client()
        job = Job(default_workdir=directory)
        for _ in range(runs):
            job.program(["/bin/true"], **keep)
        begun = time.monotonic()
        if not client.wait_for_jobs([client.submit(job)]):
            sys.exit("some of them failed")
        took = time.monotonic() - begun
print(max(took - LOOKS, took / 2), flush=True)
