"""What recon_wavelets announces: sparsifying transforms."""

from recon.entries import Entry
from recon.hookspecs import hookimpl


@hookimpl
def recon_entries() -> list[Entry]:
    return [
        Entry(
            "operator",
            "wavelet",
            "recon_wavelets.wavelet:Wavelet",
            "Decimated wavelet transform, orthonormal, in one array of the image's shape",
            cites=(
                "Mallat, IEEE Trans. PAMI 11 (1989) 674, doi:10.1109/34.192463",
                "Daubechies, Comm. Pure Appl. Math. 41 (1988) 909, doi:10.1002/cpa.3160410705",
            ),
        ),
        Entry(
            "operator",
            "undecimated-wavelet",
            "recon_wavelets.undecimated:UndecimatedWavelet",
            "Undecimated wavelet transform, a Parseval frame for images of any size",
            cites=(
                "Nason and Silverman, Lecture Notes in Statistics 103 (1995) 281, doi:10.1007/978-1-4612-2544-7_17",
            ),
        ),
        Entry(
            "operator",
            "starlet",
            "recon_wavelets.starlet:Starlet",
            "Isotropic undecimated wavelet transform (B3 spline), generation 1 or 2",
            cites=("Starck et al., IEEE Trans. Image Process. 16 (2007) 297, doi:10.1109/TIP.2006.887733",),
        ),
        Entry(
            "operator",
            "dct",
            "recon_wavelets.dct:DCT",
            "Discrete cosine transform, orthonormal",
            cites=("Ahmed et al., IEEE Trans. Comput. C-23 (1974) 90, doi:10.1109/T-C.1974.223784",),
        ),
        Entry(
            "bench",
            "wavelets",
            "recon_wavelets.bench:cases",
            "Wavelet and starlet transforms against PyWavelets, PyLops, ptwt and SciPy",
            cites=("Lee et al., JOSS 4 (2019) 1237, doi:10.21105/joss.01237",),
        ),
    ]
