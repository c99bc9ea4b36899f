// 3-D Joseph projection for any set of views: forward, one thread per ray; adjoint, one thread per column of voxels.
//
//     forward    p[ray] = l sum over planes j, voxels (i, i') of the plane of  hat(q - i) hat(q' - i') f[j; i, i']
//     adjoint    f[j; i, i'] = sum over rays with |q - i| < 1, |q' - i'| < 1 of  hat(q - i) hat(q' - i') (l p)[ray]
//
// A ray crosses the planes of its driving axis, the largest component of its direction. Indices are k (slice), r, c.
// Rays driven by columns read a copy of the volume with r and c exchanged, so that neighbouring bins read neighbouring
// addresses for every view. The adjoint gathers without atomics, the same bits each time: it projects the neighbourhood
// of its COLUMN voxels on the detector, visits the bins in the bounding box, and weighs each ray as the forward does.
// A box as slim as can be: rays driven by r or c are met on the planes r and c alone, at most a voxel beside the other.
//
// views: per view 12 numbers in k, r, c: cone, source and D - S, u, v; parallel, direction and D, u, v. Bin (n, m) has
// the offsets a = m - (n_u - 1) / 2 and b = n - (n_v - 1) / 2.

#include "_lines.cuh"

#ifndef COLUMN
#define COLUMN 8
#endif

// What the adjoint may assume of a view: that k drives no ray (else STEEP), and that v has only a k, so that the bins of
// one detector column see the same r and c (UPRIGHT, as in every circular scan).
#define STEEP 1
#define UPRIGHT 2

struct View {
    double fixed[3], base[3], u[3], v[3];
};

// Where a ray meets plane j of its axis: q + j dq on the nearer of the other axes (c, or r where c drives), and
// p + j dp on the farther one (k, or r where k drives). inverse and start are 1 / d and s of its axis.
struct Ray {
    int axis;
    double q, dq, p, dp, inverse, start;
};

__device__ inline View load(const double *views, long long view)
{
    View loaded;
    for (int i = 0; i < 3; ++i) {
        loaded.fixed[i] = __ldg(views + 12 * view + i);
        loaded.base[i] = __ldg(views + 12 * view + 3 + i);
        loaded.u[i] = __ldg(views + 12 * view + 6 + i);
        loaded.v[i] = __ldg(views + 12 * view + 9 + i);
    }
    return loaded;
}

// one component of base + a u + b v, rounded as the reference rounds it: it decides which axis drives
__device__ inline double component(const View &view, int axis, double a, double b)
{
    return __dadd_rn(__dadd_rn(view.base[axis], __dmul_rn(a, view.u[axis])), __dmul_rn(b, view.v[axis]));
}

// The farther axis anew, where r or c drives: all that changes along an upright detector column.
__device__ inline void climb(Ray &ray, const View &view, int parallel, double a, double b)
{
    const double k = component(view, 0, a, b);
    ray.dp = (parallel ? view.fixed[0] : k) * ray.inverse;
    ray.p = fma(-ray.start, ray.dp, parallel ? k : view.fixed[0]);
}

__device__ inline Ray ray_of(const View &view, int parallel, double a, double b)
{
    const double k = component(view, 0, a, b), r = component(view, 1, a, b), c = component(view, 2, a, b);
    const double s_k = parallel ? k : view.fixed[0], d_k = parallel ? view.fixed[0] : k;
    const double s_r = parallel ? r : view.fixed[1], d_r = parallel ? view.fixed[1] : r;
    const double s_c = parallel ? c : view.fixed[2], d_c = parallel ? view.fixed[2] : c;
    const double size_k = fabs(d_k), size_r = fabs(d_r), size_c = fabs(d_c);
    Ray ray;
    ray.axis = size_r >= size_c && size_r >= size_k ? 1 : size_c >= size_k ? 2 : 0;
    ray.inverse = 1.0 / (ray.axis == 1 ? d_r : ray.axis == 2 ? d_c : d_k);
    ray.start = ray.axis == 1 ? s_r : ray.axis == 2 ? s_c : s_k;
    ray.dq = (ray.axis == 2 ? d_r : d_c) * ray.inverse;
    ray.dp = (ray.axis == 0 ? d_r : d_k) * ray.inverse;
    ray.q = fma(-ray.start, ray.dq, ray.axis == 2 ? s_r : s_c);
    ray.p = fma(-ray.start, ray.dp, ray.axis == 0 ? s_r : s_k);
    return ray;
}

__device__ inline REAL length_of(const Ray &ray, double scale)
{
    const REAL dq = REAL(ray.dq), dp = REAL(ray.dp);
    return REAL(scale) * sqrt(REAL(1) + dq * dq + dp * dp);
}

// turned: the volume with r and c exchanged
extern "C" __global__ void __launch_bounds__(256, 4)
    forward(const REAL *__restrict__ volume, const REAL *__restrict__ turned, int n_k, int n_r, int n_c,
            const double *__restrict__ views, int parallel, int n_v, int n_u, double scale, REAL *__restrict__ data)
{
    const int m = blockIdx.x * blockDim.x + threadIdx.x, n = blockIdx.y * blockDim.y + threadIdx.y;
    const long long view = blockIdx.z;
    if (m >= n_u || n >= n_v)
        return;
    const Ray ray = ray_of(load(views, view), parallel, m - 0.5 * (n_u - 1), n - 0.5 * (n_v - 1));
    const long long slice = (long long)n_r * n_c;
    const REAL *values = ray.axis == 2 ? turned : volume;
    const int planes = ray.axis == 1 ? n_r : ray.axis == 2 ? n_c : n_k;
    const int near = ray.axis == 2 ? n_r : n_c, far = ray.axis == 0 ? n_r : n_k;
    const long long plane = ray.axis == 0 ? slice : near, row = ray.axis == 0 ? n_c : slice;
    int first = 0, stop = planes;
    clip(ray.q, ray.dq, near, first, stop);
    clip(ray.p, ray.dp, far, first, stop);
    REAL total = 0;
    double line = first; // counts in double: no conversion
    for (int j = first; j < stop; ++j, line += 1.0) {
        const double q = fma(line, ray.dq, ray.q), p = fma(line, ray.dp, ray.p);
        double q_below, p_below;
        const int i = floor_of(q, q_below), h = floor_of(p, p_below);
        const bool left = inside(i, near), right = inside(i + 1, near), low = inside(h, far), high = inside(h + 1, far);
        const REAL e = REAL(q - q_below), w = REAL(1) - e, up = REAL(p - p_below);
        const REAL *at = values + j * plane + h * row + i;
        const REAL a = low && left ? __ldg(at) : REAL(0), b = low && right ? __ldg(at + 1) : REAL(0);
        const REAL c = high && left ? __ldg(at + row) : REAL(0), d = high && right ? __ldg(at + row + 1) : REAL(0);
        total += (REAL(1) - up) * (w * a + e * b) + up * (w * c + e * d);
    }
    data[(view * n_v + n) * n_u + m] = length_of(ray, scale) * total;
}

// The bins that some points are projected on: bounding box of them, or the whole detector where the source lies among
// the points. Float is enough: a bin too many costs a little time, and MARGIN covers 80 000 bins.
struct Box {
    float m_low, m_high, n_low, n_high, w_low, w_high;
};

#define MARGIN 0.01f

__device__ inline int to_bin(float value)
{
    return int(fminf(fmaxf(value, -1e9f), 1e9f));
}

__device__ inline void include(Box &box, float m, float n, float w)
{
    const float inverse = 1.0f / w;
    box.m_low = fminf(box.m_low, m * inverse);
    box.m_high = fmaxf(box.m_high, m * inverse);
    box.n_low = fminf(box.n_low, n * inverse);
    box.n_high = fmaxf(box.n_high, n * inverse);
    box.w_low = fminf(box.w_low, w);
    box.w_high = fmaxf(box.w_high, w);
}

// camera: 3 rows (m w, n w, w) of 4 numbers, on k, r, c, 1
__device__ inline Box project(const double *camera, int k, int r, int c, bool steep)
{
    float middle[3], by_r[3], by_c[3], by_k[3];
    for (int row = 0; row < 3; ++row) {
        const double *of = camera + 4 * row;
        const double along_k = __ldg(of), along_r = __ldg(of + 1), along_c = __ldg(of + 2);
        middle[row] = float(fma(along_k, double(k), fma(along_r, double(r), fma(along_c, double(c), __ldg(of + 3)))));
        by_k[row] = float(along_k);
        by_r[row] = float(along_r);
        by_c[row] = float(along_c);
    }
    Box box = {1e30f, -1e30f, 1e30f, -1e30f, 1e30f, -1e30f};
#pragma unroll
    for (int corner = 0; corner < 8; ++corner) { // rays driven by r or c: one voxel above and below the column
        const float along = corner & 1 ? COLUMN : -1.0f, side = corner & 2 ? 1.0f : -1.0f;
        const float *by = corner & 4 ? by_r : by_c;
        include(box, middle[0] + along * by_k[0] + side * by[0], middle[1] + along * by_k[1] + side * by[1],
                middle[2] + along * by_k[2] + side * by[2]);
    }
    if (!steep)
        return box;
#pragma unroll
    for (int corner = 0; corner < 8; ++corner) { // rays driven by k: on its planes, a voxel to each side
        const float along = corner & 1 ? COLUMN - 1 : 0, x = corner & 2 ? 1.0f : -1.0f, y = corner & 4 ? 1.0f : -1.0f;
        include(box, middle[0] + along * by_k[0] + x * by_c[0] + y * by_r[0],
                middle[1] + along * by_k[1] + x * by_c[1] + y * by_r[1],
                middle[2] + along * by_k[2] + x * by_c[2] + y * by_r[2]);
    }
    return box;
}

// Add a ray driven by k to the voxels k ... k + COLUMN - 1 at (r, c).
__device__ inline void add_steep(const Ray &ray, REAL value, int k, int r, int c, REAL *total)
{
#pragma unroll
    for (int t = 0; t < COLUMN; ++t) {
        const double q = fma(double(k + t), ray.dq, ray.q) - c, p = fma(double(k + t), ray.dp, ray.p) - r;
        if (within(q) && within(p))
            total[t] += hat(p) * (hat(q) * value);
    }
}

// Add a ray driven by r or c, at p on the plane of the voxels.
__device__ inline void add(double p, REAL value, int k, REAL *total)
{
    double below;
    const int h = floor_of(p, below) - k; // voxels h and h + 1 of the column
    const REAL e = REAL(p - below), first = (REAL(1) - e) * value, second = e * value;
#pragma unroll
    for (int t = 0; t < COLUMN; ++t)
        total[t] += t == h ? first : t == h + 1 ? second : REAL(0);
}

// kinds: STEEP and UPRIGHT, per view
extern "C" __global__ void __launch_bounds__(128, 4)
    adjoint(const REAL *__restrict__ data, const double *__restrict__ views, const double *__restrict__ cameras,
            const int *__restrict__ kinds, int parallel, int n_views, int n_v, int n_u, double scale,
            REAL *__restrict__ volume, int n_k, int n_r, int n_c)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    const int k = blockIdx.z * COLUMN;
    if (c >= n_c || r >= n_r)
        return;
    const double half_u = 0.5 * (n_u - 1), half_v = 0.5 * (n_v - 1);
    REAL total[COLUMN] = {};
    for (int number = 0; number < n_views; ++number) {
        const int kind = __ldg(kinds + number);
        const Box box = project(cameras + 12 * number, k, r, c, kind & STEEP);
        int m_first = 0, m_last = n_u - 1, n_first = 0, n_last = n_v - 1;
        if (box.w_low > 0.0f || box.w_high < 0.0f) {
            m_first = max(m_first, to_bin(ceilf(box.m_low - MARGIN)));
            m_last = min(m_last, to_bin(floorf(box.m_high + MARGIN)));
            n_first = max(n_first, to_bin(ceilf(box.n_low - MARGIN)));
            n_last = min(n_last, to_bin(floorf(box.n_high + MARGIN)));
        }
        const View view = load(views, number);
        for (int m = m_first; m <= m_last; ++m) {
            const double a = m - half_u;
            const REAL *bin = data + ((long long)number * n_v + n_first) * n_u + m;
            Ray ray;
            REAL weight = 0;
            for (int n = n_first; n <= n_last; ++n, bin += n_u) {
                const double b = n - half_v;
                if (n > n_first && kind & UPRIGHT) {
                    climb(ray, view, parallel, a, b);
                } else {
                    ray = ray_of(view, parallel, a, b);
                    const double place = ray.axis == 1 ? r : c, q = fma(place, ray.dq, ray.q) - (ray.axis == 1 ? c : r);
                    weight = within(q) ? hat(q) : REAL(0);
                }
                if (ray.axis == 0)
                    add_steep(ray, length_of(ray, scale) * __ldg(bin), k, r, c, total);
                else if (weight > REAL(0))
                    add(fma(double(ray.axis == 1 ? r : c), ray.dp, ray.p), weight * (length_of(ray, scale) * __ldg(bin)), k,
                        total);
                else if (kind & UPRIGHT)
                    break;
            }
        }
    }
#pragma unroll
    for (int t = 0; t < COLUMN; ++t)
        if (k + t < n_k)
            volume[((long long)(k + t) * n_r + r) * n_c + c] = total[t];
}
