"""The corpus: 28,000 openly licensed drawings with captions, built from public packages; and the small sample of it that tests use.

`sources` fetches and reads the packages, `clipart` and `icons` make rows of them, `drawing` makes the images, `build` puts it all
into a folder, `sample` takes the part of it that lies in the repository.
"""
