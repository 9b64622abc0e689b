"""One reader for each dataset layout, all under the contract of `data_pipelines.domain`."""
