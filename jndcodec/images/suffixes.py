"""The names that pictures go by."""

# What is taken from a folder. A file named on the command line is tried whatever its name is. Formats that are not read
# (HEIC, JPEG XL) stand here too, so that such pictures are reported and not passed over.
PICTURE_SUFFIXES = frozenset(
    ".apng .avif .avifs .bmp .dib .gif .heic .heif .hif .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .jxl .pbm "
    ".pcx .pgm .png .pnm .ppm .psd .qoi .sgi .tga .tif .tiff .webp".split()
)
