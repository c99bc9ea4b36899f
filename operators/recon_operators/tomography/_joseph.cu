// 2-D Joseph projection from a ray table: forward, one thread per ray; adjoint, one thread per RUN pixels of a line.
//
//     forward    p[ray] = l sum over lines r of (1 - e) f[r, i] + e f[r, i + 1],   q = q0 + r dq, i = floor(q), e = q - i
//     adjoint    f[r, i] = sum over rays with |q - i| < 1 of hat(q - i) (l p)[ray]
//
// Lines are rows of the image, or columns, for which the forward reads a transposed copy: neighbouring rays then read
// neighbouring addresses either way. The adjoint gathers, so it needs no atomics and gives the same bits each time. It
// finds its rays in *segments*: runs of neighbouring rays of one view whose positions rise or fall along every line.
// The first of them comes from the projective map j -> q_j(r) through the first, middle and last ray, exact for
// parallel and flat fan beams; for others, a step along the slope and a few rays to and fro.
//
// Images and sinograms come in packs: IMAGES of a batch, pixel by pixel side by side, which share positions and weights
// and travel in one load of up to 16 bytes.

#include "_lines.cuh"

#ifndef IMAGES
#define IMAGES 1
#endif

#ifndef RUN
#define RUN 4
#endif

struct alignas(IMAGES * sizeof(REAL)) Pack {
    REAL of[IMAGES];
};

__device__ inline Pack zero()
{
    Pack pack;
#pragma unroll
    for (int k = 0; k < IMAGES; ++k)
        pack.of[k] = 0;
    return pack;
}

// images: packs (count, length), blockIdx.y of them; sinograms: packs (all_rays)
extern "C" __global__ void __launch_bounds__(256)
    forward(const REAL *__restrict__ images, int count, int length, const double *__restrict__ q0,
            const double *__restrict__ dq, const REAL *__restrict__ weights, const int *__restrict__ rays, int n_rays,
            REAL *__restrict__ sinograms, int all_rays)
{
    const int ray = blockIdx.x * blockDim.x + threadIdx.x;
    if (ray >= n_rays)
        return;
    const double q_first = __ldg(q0 + ray), step = __ldg(dq + ray);
    int first = 0, stop = count;
    clip(q_first, step, length, first, stop);
    const Pack *__restrict__ row = reinterpret_cast<const Pack *>(images) + ((long long)blockIdx.y * count + first) * length;
    Pack total = zero();
    double line = first; // counts in double: no conversion
    for (int r = first; r < stop; ++r, line += 1.0, row += length) {
        const double q = fma(line, step, q_first);
        double below;
        const int i = floor_of(q, below);
        const REAL e = REAL(q - below), w = REAL(1) - e;
        const Pack *at = row + i;
        Pack left = zero(), right = zero();
        if (inside(i, length))
            left = at[0];
        if (inside(i + 1, length))
            right = at[1];
#pragma unroll
        for (int k = 0; k < IMAGES; ++k)
            total.of[k] += w * left.of[k] + e * right.of[k];
    }
    const REAL weight = __ldg(weights + ray);
#pragma unroll
    for (int k = 0; k < IMAGES; ++k)
        total.of[k] *= weight;
    reinterpret_cast<Pack *>(sinograms)[(long long)blockIdx.y * all_rays + __ldg(rays + ray)] = total;
}

__device__ inline double position(const double *q0, const double *dq, int j, double line)
{
    return fma(line, __ldg(dq + j), __ldg(q0 + j));
}

// A ray of the segment start ... last at or a little before the one at -1, by the projective map; `at` gives distances
// that rise from start to last.
template <class At> __device__ inline int guess(const At &at, int start, int last, double at_start, double at_last)
{
    if (at_start > -1.0)
        return start;
    const int middle = (start + last) / 2;
    const double at_middle = at(middle);
    const float near = float((-1.0 - at_start) * (at_last - at_middle)) * float(middle - start);
    const float far = float((at_last + 1.0) * (at_middle - at_start)) * float(last - middle);
    const float share = near + far > 0.0f ? near / (near + far) : 0.0f;
    const int j = min(start + int(share * float(last - start)), last);
    const float away = float(at(j) + 1.0);
    if (fabsf(away) * float(last - start) <= 3.0f * float(at_last - at_start) || j == last)
        return j;
    const float gap = float(at(j + 1) + 1.0) - away; // not a projective map
    return gap > 0.0f ? min(max(j - int(ceilf(away / gap)), start), last) : start;
}

// Add the rays of one segment to the pixels first ... first + RUN - 1 of a line.
__device__ inline void gather(const Pack *__restrict__ values, const double *q0, const double *dq, const int *segment,
                              double line, int first, Pack *total)
{
    const int start = __ldg(segment), last = __ldg(segment + 1) - 1, shift = __ldg(segment + 2);
    const double a = position(q0, dq, start, line), b = position(q0, dq, last, line);
    const bool rising = b >= a;
    const double sign = rising ? 1.0 : -1.0, anchor = rising ? first : first + RUN - 1;
    const double at_start = sign * (a - anchor), at_last = sign * (b - anchor);
    if (at_start >= RUN || at_last <= -1.0)
        return;
    const auto at = [&](int j) { return sign * (position(q0, dq, j, line) - anchor); };
    int j = guess(at, start, last, at_start, at_last);
    while (j > start && at(j) > -1.0)
        --j;
    for (; j <= last; ++j) {
        const double q = position(q0, dq, j, line), here = sign * (q - anchor);
        if (here >= RUN)
            return;
        if (here <= -1.0)
            continue;
        double below;
        const int h = floor_of(q, below) - first; // pixels h and h + 1 of the run
        const REAL e = REAL(q - below), w = REAL(1) - e;
        const Pack value = values[shift + j];
#pragma unroll
        for (int t = 0; t < RUN; ++t) {
            const REAL weight = t == h ? w : t == h + 1 ? e : REAL(0);
#pragma unroll
            for (int k = 0; k < IMAGES; ++k)
                total[t].of[k] += weight * value.of[k];
        }
    }
}

// values: packs of sinograms times l. A segment is first and last + 1 in the table, and ray number minus place in it.
// Pixel i of line r is at r * by_line + i * by_pixel in an image; add: to what is there.
extern "C" __global__ void __launch_bounds__(256)
    adjoint(const REAL *__restrict__ values, int all_rays, const double *__restrict__ q0, const double *__restrict__ dq,
            const int *__restrict__ segments, int n_segments, REAL *__restrict__ images, int count, int length,
            int by_line, int by_pixel, int add)
{
    const int line = blockIdx.x * blockDim.x + threadIdx.x, first = RUN * (blockIdx.y * blockDim.y + threadIdx.y);
    if (line >= count || first >= length)
        return;
    const Pack *own = reinterpret_cast<const Pack *>(values) + (long long)blockIdx.z * all_rays;
    Pack total[RUN];
#pragma unroll
    for (int t = 0; t < RUN; ++t)
        total[t] = zero();
    for (int s = 0; s < n_segments; ++s)
        gather(own, q0, dq, segments + 3 * s, line, first, total);
    Pack *place = reinterpret_cast<Pack *>(images) + (long long)blockIdx.z * count * length + line * by_line;
#pragma unroll
    for (int t = 0; t < RUN; ++t) {
        if (first + t >= length)
            return;
        Pack *at = place + (first + t) * by_pixel;
        if (add)
#pragma unroll
            for (int k = 0; k < IMAGES; ++k)
                total[t].of[k] += at->of[k];
        *at = total[t];
    }
}
