"""A run whose workers are jobs of Slurm: python slurm.py analysis.yaml runs/analysis."""

import sys

from dask_jobqueue import SLURMCluster

import pidlab


def make_cluster() -> SLURMCluster:
    """Describes one job; nothing is submitted yet."""
    return SLURMCluster(
        queue="batch",  # the partition of your site
        account="my_group",
        cores=4,  # of one job
        processes=2,  # workers in a job, each with cores / processes threads
        memory="16GB",  # of one job
        walltime="02:00:00",
        local_directory="/tmp",  # a disk of the node
        log_directory="dask-logs",
        job_name="pidlab",
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
