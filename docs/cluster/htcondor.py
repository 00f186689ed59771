"""A run whose workers are jobs of HTCondor: python htcondor.py analysis.yaml runs/analysis."""

import sys

from dask_jobqueue import HTCondorCluster

import pidlab


def make_cluster() -> HTCondorCluster:
    """Describes one job; nothing is submitted yet."""
    return HTCondorCluster(
        cores=4,  # of one job
        processes=2,  # workers in a job, each with cores / processes threads
        memory="16GB",  # of one job
        disk="4GB",
        log_directory="dask-logs",
        job_extra_directives={
            "+JobFlavour": '"longlunch"',  # CERN: two hours; other sites know +MaxRuntime
            "getenv": "True",  # the environment in which this script runs
        },
        job_script_prologue=["export OMP_NUM_THREADS=1", "export OPENBLAS_NUM_THREADS=1"],
    )


def main(config: str, output: str) -> None:
    """Asks for 8 workers in 4 jobs, and begins as soon as there are 4."""
    with make_cluster() as cluster:
        cluster.scale(jobs=4)
        cluster.wait_for_workers(4)
        print(pidlab.run(config, output, dask=cluster.scheduler_address))


if __name__ == "__main__":
    main(*sys.argv[1:3])
