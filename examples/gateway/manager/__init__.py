"""Application managers: components that run jobs, in a fenced folder or with a Dask cluster."""
