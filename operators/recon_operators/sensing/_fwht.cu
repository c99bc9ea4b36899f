// Walsh-Hadamard transform of many rows: in one pass over memory as many stages as a tile in shared memory holds.
//
//     stage h:   (x[i], x[i + h])  ->  (x[i] + x[i + h], x[i] - x[i + h])     where i has no bit h
//
// A block of 256 threads holds 4096 entries: RUNS of `width` neighbours, `stride` apart. It does the stages
// low <= h < high (h counted inside the tile), four at a time in registers. The first pass has one run of 4096 and does
// h = 1 ... 2048, later ones have runs of 16 or more and do 8 stages of far neighbours: 2 passes up to n = 2^20, 3 up to
// 2^28. Stages come in ascending order, so the result has the bits of the plain formula. All sizes are powers of two.

#define TILE 4096
#define THREADS 256

// One place in 33 stays free: 16 entries of each of 32 neighbouring threads lie in different banks.
__device__ inline int place(int i)
{
    return i + i / 32;
}

// The stages h, 2h ... RADIX h / 2 of the whole tile.
template <int RADIX> __device__ inline void stages(REAL *tile, int h)
{
    for (int unit = threadIdx.x; unit < TILE / RADIX; unit += THREADS) {
        const int first = (unit & ~(h - 1)) * RADIX + (unit & (h - 1));
        REAL v[RADIX];
#pragma unroll
        for (int i = 0; i < RADIX; ++i)
            v[i] = tile[place(first + i * h)];
#pragma unroll
        for (int step = 1; step < RADIX; step *= 2)
#pragma unroll
            for (int i = 0; i < RADIX; ++i)
                if (!(i & step)) {
                    const REAL a = v[i], b = v[i + step];
                    v[i] = a + b;
                    v[i + step] = a - b;
                }
#pragma unroll
        for (int i = 0; i < RADIX; ++i)
            tile[place(first + i * h)] = v[i];
    }
    __syncthreads();
}

// x and y may be the same; total: entries of all rows
extern "C" __global__ void __launch_bounds__(THREADS)
    fwht(const REAL *x, REAL *y, long long total, int width, int stride, int low, int high)
{
    __shared__ REAL tile[TILE + TILE / 32];
    const int per_group = stride / width; // tiles that lie side by side
    const long long group = blockIdx.x / per_group, side = blockIdx.x % per_group;
    const long long base = group * stride * (TILE / width) + side * width;
    for (int i = threadIdx.x; i < TILE; i += THREADS) {
        const long long at = base + (long long)(i / width) * stride + i % width;
        tile[place(i)] = at < total ? x[at] : REAL(0);
    }
    __syncthreads();
    int h = low;
    for (; 16 * h <= high; h *= 16)
        stages<16>(tile, h);
    if (8 * h == high)
        stages<8>(tile, h);
    else if (4 * h == high)
        stages<4>(tile, h);
    else if (2 * h == high)
        stages<2>(tile, h);
    for (int i = threadIdx.x; i < TILE; i += THREADS) {
        const long long at = base + (long long)(i / width) * stride + i % width;
        if (at < total)
            y[at] = tile[place(i)];
    }
}
