// The pointwise steps around Fourier transforms, each one pass over memory: complex arrays of `places` entries, in
// front of which stand terms (coils, kernels) and a batch.
//
//     expand      z[b, t, i] = x[b, i] m[t, i]                        combine   x[b, i] = sum over t of z[b, t, i] m[t, i]
//     proximal    v = (rho v + h y) / (s + rho)                       h, s shared by a batch
//
// A thread takes one place, and every gridDim.y-th sample of the batch.

#define EVERY_SAMPLE                                                                                                  \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                              \
    if (i < places)                                                                                                   \
        for (long long b = blockIdx.y; b < batch; b += gridDim.y)

__device__ inline REAL2 times(REAL2 a, REAL2 b)
{
    REAL2 c;
    c.x = a.x * b.x - a.y * b.y;
    c.y = a.x * b.y + a.y * b.x;
    return c;
}

extern "C" __global__ void __launch_bounds__(256)
    expand(const REAL2 *__restrict__ x, const REAL2 *__restrict__ m, REAL2 *__restrict__ z, int batch, int terms, int places)
{
    EVERY_SAMPLE
    {
        const REAL2 value = __ldg(x + b * places + i);
        for (long long t = 0; t < terms; ++t)
            z[(b * terms + t) * places + i] = times(value, __ldg(m + t * places + i));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    combine(const REAL2 *__restrict__ z, const REAL2 *__restrict__ m, REAL2 *__restrict__ x, int batch, int terms, int places)
{
    EVERY_SAMPLE
    {
        REAL2 total = {0, 0};
        for (long long t = 0; t < terms; ++t) {
            const REAL2 one = times(__ldg(z + (b * terms + t) * places + i), __ldg(m + t * places + i));
            total.x += one.x;
            total.y += one.y;
        }
        x[b * places + i] = total;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    proximal(REAL2 *__restrict__ v, const REAL2 *__restrict__ y, const REAL2 *__restrict__ h, const REAL *__restrict__ s,
             double rho, int batch, int places)
{
    EVERY_SAMPLE
    {
        const REAL weight = REAL(rho), sum = __ldg(s + i) + weight;
        const REAL2 old = v[b * places + i], seen = times(__ldg(y + b * places + i), __ldg(h + i));
        REAL2 value;
        value.x = (weight * old.x + seen.x) / sum;
        value.y = (weight * old.y + seen.y) / sum;
        v[b * places + i] = value;
    }
}
