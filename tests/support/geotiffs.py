"""GeoTIFFs, written by rasterio."""

import numpy as np

CRS = "EPSG:32633"
ORIGIN = (500000.0, 5000000.0)


def encode_geotiff(bands, **profile) -> bytes:
    """Returns the content of a GeoTIFF in UTM zone 33 with pixels of half a metre.

    Args:
        bands: (bands, H, W).
        **profile: options of rasterio's writer.
    """
    import rasterio
    from rasterio import transform

    count, height, width = np.shape(bands)
    place = {"crs": CRS, "transform": transform.from_origin(*ORIGIN, 0.5, 0.5), **profile}
    with rasterio.MemoryFile() as file:
        with file.open(
            driver="GTiff", height=height, width=width, count=count, dtype=bands.dtype, **place
        ) as dataset:
            dataset.write(bands)
        return file.read()
