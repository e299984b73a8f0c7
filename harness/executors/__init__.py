"""Where cohorts train: in this process, in the workers of a Ray cluster, in the tasks of a Slurm job."""
