"""A look at unknown folders of images and masks, and the configuration that reads them."""
