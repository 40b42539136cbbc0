"""A music collection: files to vectors, the catalogue that keeps them, and search by part."""
