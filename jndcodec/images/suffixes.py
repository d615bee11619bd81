"""The names that pictures go by."""

# What is taken from a folder. A file named on the command line is tried whatever its name is. Formats that are not read
# (HEIC, JPEG XL) stand here too, so that such pictures are reported and not passed over.
PICTURE_SUFFIXES = frozenset(
    ".apng .avif .avifs .bmp .dib .gif .heic .heif .hif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .jxl "
    ".pbm .pcx .pgm .png .pnm .ppm .psd .qoi .sgi .tga .tif .tiff .webp".split()
)

# Pictures of kinds that nothing here reads: camera raw, drawings, layers, scientific ones. In a folder they are passed
# over, and named.
OTHER_PICTURES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dds .dng .emf .eps .erf .exr .fff .fits .hdr .iiq .jxr .k25 .kdc .kra .mef "
    ".mos .mrw .nef .nrw .ora .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .svg .svgz .wdp .wmf .x3f .xcf".split()
)
