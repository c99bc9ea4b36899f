"""What this package announces to recon; imports no implementation."""

from __future__ import annotations

from recon.entries import Entry
from recon.hookspecs import hookimpl

_JOSEPH = "Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572"
_ASTRA = "van Aarle et al., Opt. Express 24 (2016) 25129, doi:10.1364/OE.24.025129"
_CANDES = "Candes, Tao, IEEE Trans. Inf. Theory 52 (2006) 5406, doi:10.1109/TIT.2006.885507"
_ROMBERG = "Candes, Romberg, Tao, IEEE Trans. Inf. Theory 52 (2006) 489, doi:10.1109/TIT.2005.862083"
_SCRAMBLED = "Do, Gan, Nguyen, Tran, IEEE Trans. Signal Process. 60 (2012) 139, doi:10.1109/TSP.2011.2170977"
_CAMERA = "Duarte et al., IEEE Signal Process. Mag. 25 (2008) 83, doi:10.1109/MSP.2007.914730"
_BLOCKS = "Gan, Block compressed sensing of natural images, DSP 2007, doi:10.1109/ICDSP.2007.4288604"
_ISTA_NET = "Zhang, Ghanem, ISTA-Net, CVPR 2018, doi:10.1109/CVPR.2018.00196"
_MEZZADRI = "Mezzadri, Notices AMS 54 (2007) 592, arXiv:math-ph/0609050"
_SENSE = "Pruessmann et al., SENSE, Magn. Reson. Med. 42 (1999) 952"
_ESPIRIT = "Uecker et al., ESPIRiT, Magn. Reson. Med. 71 (2014) 990, doi:10.1002/mrm.24751"
_FINUFFT = "Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, doi:10.1137/18M120885X"
_TOEPLITZ = "Fessler et al., IEEE Trans. Signal Process. 53 (2005) 3393, doi:10.1109/TSP.2005.853152"
_BERTALMIO = "Bertalmio et al., Image inpainting, SIGGRAPH 2000, doi:10.1145/344779.344972"
_MULTIRATE = "Vaidyanathan, Multirate systems and filter banks, Prentice Hall 1993"
_PARK = "Park, Park and Kang, IEEE Signal Process. Mag. 20 (2003) 21, doi:10.1109/MSP.2003.1203207"
_KEYS = "Keys, IEEE Trans. Acoust. Speech Signal Process. 29 (1981) 1153, doi:10.1109/TASSP.1981.1163711"
_DPS = "Huijben, Veeling and van Sloun, Deep probabilistic subsampling, ICLR 2020"
_GOLUB = "Golub and Van Loan, Matrix computations, 4th ed., Johns Hopkins 2013"
_DEBLURRING = "Hansen, Nagy and O'Leary, Deblurring Images, SIAM 2006, doi:10.1137/1.9780898718874"
_NAGY = "Nagy and O'Leary, SIAM J. Sci. Comput. 19 (1998) 1063, doi:10.1137/S106482759528507X"
_LAUER = (
    "Lauer, Deconvolution with a spatially-variant PSF, Proc. SPIE 4847 (2002) 167, doi:10.1117/12.461035"
)
_USRNET = "Zhang, Van Gool and Timofte, CVPR 2020, doi:10.1109/CVPR42600.2020.00328"
_ZHAO = "Zhao et al., IEEE Trans. Image Process. 25 (2016) 3683, doi:10.1109/TIP.2016.2567075"
_AKHAURY = "Akhaury et al., Astron. Astrophys. 697 (2025) A136, doi:10.1051/0004-6361/202452308"

_TOMOGRAPHY = [
    Entry(
        kind="operator",
        name="parallel-beam",
        target="recon_operators.tomography:ParallelBeam",
        summary="2-D X-ray tomography with parallel rays",
        cites=(_JOSEPH, _ASTRA),
    ),
    Entry(
        kind="operator",
        name="fan-beam",
        target="recon_operators.tomography:FanBeam",
        summary="2-D X-ray tomography with a point source and a flat or curved detector",
        cites=(_JOSEPH, _ASTRA),
    ),
    Entry(
        kind="operator",
        name="fourier-slice-beam",
        target="recon_operators.tomography:FourierSliceBeam",
        summary="2-D X-ray tomography with parallel rays, by a non-uniform Fourier transform",
        needs=("finufft",),
        extra="nufft",
        cites=(
            "Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, doi:10.1137/18M120885X",
        ),
    ),
    Entry(
        kind="operator",
        name="cone-beam",
        target="recon_operators.tomography:ConeBeam",
        summary="3-D X-ray tomography with a point source on a circle and a flat detector",
        cites=(_JOSEPH, _ASTRA),
    ),
    Entry(
        kind="operator",
        name="vector-beam",
        target="recon_operators.tomography:VectorBeam",
        summary="3-D X-ray tomography with twelve numbers a view: any path, cone or parallel rays",
        cites=(_JOSEPH, _ASTRA),
    ),
    Entry(
        kind="bench",
        name="cone-beam",
        target="recon_operators.tomography.cone_bench:cases",
        summary="3-D projection and FDK against the 2-D fan on as many updates",
        cites=(_ASTRA,),
    ),
    Entry(
        kind="bench",
        name="tomography",
        target="recon_operators.tomography.bench:cases",
        summary="Projection and back projection against ASTRA and scikit-image",
        cites=(_ASTRA,),
    ),
]

_FOURIER = [
    Entry(
        kind="operator",
        name="cartesian-mri",
        target="recon_operators.fourier:CartesianMRI",
        summary="Cartesian MRI with a sampling mask, one coil or several",
        cites=(_SENSE, _ESPIRIT),
    ),
    Entry(
        kind="operator",
        name="non-cartesian-mri",
        target="recon_operators.fourier:NonCartesianMRI",
        summary="MRI along radial, spiral or any trajectory, one coil or several",
        needs=("finufft",),
        extra="nufft",
        cites=(_FINUFFT, _TOEPLITZ),
    ),
    Entry(
        kind="bench",
        name="mri",
        target="recon_operators.fourier.bench:cases",
        summary="Cartesian and radial MRI against SigPy, PyLops, deepinv, and bare transforms",
        cites=(_SENSE, _FINUFFT),
    ),
]

_SENSING = [
    Entry(
        kind="operator",
        name="random-matrix",
        target="recon_operators.sensing:RandomMatrix",
        summary="Random matrix (Gaussian or signs), given by a seed",
        cites=(_CANDES,),
    ),
    Entry(
        kind="operator",
        name="random-projection",
        target="recon_operators.sensing:RandomProjection",
        summary="Random matrix with orthonormal rows",
        cites=(_MEZZADRI,),
    ),
    Entry(
        kind="operator",
        name="partial-dct",
        target="recon_operators.sensing:PartialDct",
        summary="Some coefficients of a cosine transform",
        cites=(_SCRAMBLED,),
    ),
    Entry(
        kind="operator",
        name="partial-hadamard",
        target="recon_operators.sensing:PartialHadamard",
        summary="Some coefficients of a Walsh-Hadamard transform",
        cites=(_SCRAMBLED,),
    ),
    Entry(
        kind="operator",
        name="partial-fourier",
        target="recon_operators.sensing:PartialFourier",
        summary="Some Fourier coefficients of complex samples",
        cites=(_ROMBERG,),
    ),
    Entry(
        kind="operator",
        name="partial-fourier-real",
        target="recon_operators.sensing:PartialFourierReal",
        summary="Some Fourier coefficients of real samples",
        cites=(_ROMBERG,),
    ),
    Entry(
        kind="operator",
        name="single-pixel",
        target="recon_operators.sensing:SinglePixel",
        summary="Single-pixel camera with patterns of +1 and -1",
        cites=(_CAMERA,),
    ),
    Entry(
        kind="operator",
        name="single-pixel-binary",
        target="recon_operators.sensing:SinglePixelBinary",
        summary="Single-pixel camera with patterns of 1 and 0",
        cites=(_CAMERA,),
    ),
    Entry(
        kind="operator",
        name="block-sensing",
        target="recon_operators.sensing:BlockSensing",
        summary="Every block of an image measured by one random matrix",
        cites=(_BLOCKS, _ISTA_NET),
    ),
    Entry(
        kind="bench",
        name="sensing",
        target="recon_operators.sensing.bench:cases",
        summary="Compressed sensing against NumPy, SciPy, PyLops, SigPy and deepinv",
        cites=(_CANDES,),
    ),
]

_CONVOLUTION = [
    Entry(
        kind="operator",
        name="convolution",
        target="recon_operators.convolution:Convolution",
        summary="Convolution with a stated centre and boundary, by transforms or tap by tap",
        cites=(_DEBLURRING,),
    ),
    Entry(
        kind="operator",
        name="separable-convolution",
        target="recon_operators.convolution:SeparableConvolution",
        summary="Convolution with one vector per axis",
        cites=(_DEBLURRING,),
    ),
    Entry(
        kind="operator",
        name="varying-convolution",
        target="recon_operators.convolution:VaryingConvolution",
        summary="Convolution with a kernel that changes over the image",
        cites=(_NAGY, _LAUER),
    ),
    Entry(
        kind="operator",
        name="blur-downsample",
        target="recon_operators.convolution:BlurDownsample",
        summary="Blur, then decimation or sums or means of blocks, with closed forms",
        cites=(_USRNET, _ZHAO),
    ),
    Entry(
        kind="operator",
        name="multiband",
        target="recon_operators.convolution:Multiband",
        summary="Coarse bands and a fine broad band of one scene",
        cites=(_AKHAURY,),
    ),
    Entry(
        kind="bench",
        name="convolution",
        target="recon_operators.convolution.bench:cases",
        summary="Convolution, deconvolution steps and Wiener against SciPy, PyLops, SigPy, scikit-image",
        cites=(_DEBLURRING,),
    ),
]

_SLICES = [
    Entry(
        kind="operator",
        name="each-slice",
        target="recon_operators.slices:EachSlice",
        summary="One operator on every slice of a volume",
        cites=(_GOLUB,),
    ),
]

_GPU = [
    Entry(
        kind="bench",
        name="gpu",
        target="recon_operators.gpu_bench:cases",
        summary="CUDA kernels against the memory floor of the device",
        cites=(_JOSEPH,),
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    """The operators and benchmarks of this package."""
    return [*_TOMOGRAPHY, *_FOURIER, *_SENSING, *_CONVOLUTION, *_sampling(), *_SLICES, *_GPU]


def _sampling() -> list[Entry]:
    home = "recon_operators.sampling"
    return [
        Entry("operator", "mask", f"{home}:Mask", "An image with hidden entries: inpainting", cites=(_BERTALMIO,)),
        Entry("operator", "decimate", f"{home}:Decimate", "Every s-th sample along each axis", cites=(_MULTIRATE,)),
        Entry("operator", "block-sum", f"{home}:BlockSum", "Sums over blocks: binned counts", cites=(_PARK,)),
        Entry("operator", "block-mean", f"{home}:BlockMean", "Means over blocks: coarser pixels", cites=(_PARK,)),
        Entry("operator", "select", f"{home}:Select", "Some slices, bands or rows of an axis", cites=(_GOLUB,)),
        Entry("operator", "bicubic", f"{home}:Bicubic", "Antialiased bicubic resizing, exactly linear", cites=(_KEYS,)),
        Entry("operator", "interpolate", f"{home}:Interpolate", "The image at arbitrary points", cites=(_KEYS,)),
        Entry("operator", "learned-subsampling", f"{home}:LearnedSubsampling",
              "The entries at learned places, as a vector", cites=(_DPS,)),
        Entry("bench", "sampling", f"{home}.bench:cases",
              "Sampling and its adjoint against PyLops, torch, SciPy and scikit-image", cites=(_KEYS,)),
    ]  # fmt: skip
