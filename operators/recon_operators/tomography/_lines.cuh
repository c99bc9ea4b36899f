// What Joseph kernels share: the place between two pixels, their weights, the lines on which a ray can meet pixels.
//
// Positions are double whatever the data: in float they alone would cost 1e-5 of the result. Forward and adjoint do the
// same operations in the same order, so that both see the same weights. Conversions from double are slow on every GPU:
// there is one per position.

// floor(q), for |q| < 2^31, as an int and as a double: adding 1.5 2^52 leaves the integer in the low bits
__device__ inline int floor_of(double q, double &below)
{
    const double shift = 6755399441055744.0, shifted = __dadd_rd(q, shift);
    below = __dadd_rn(shifted, -shift);
    return __double2loint(shifted);
}

// hat(q - i) = max(0, 1 - |q - i|) for a distance already known to lie in (-1, 1)
__device__ inline REAL hat(double distance)
{
    const bool right = distance >= 0.0;
    const REAL e = REAL(right ? distance : distance + 1.0);
    return right ? REAL(1) - e : e;
}

__device__ inline bool within(double distance)
{
    return distance > -1.0 && distance < 1.0;
}

__device__ inline bool inside(int i, int length)
{
    return unsigned(i) < unsigned(length);
}

__device__ inline int to_line(double value)
{
    return int(fmin(fmax(value, -1e9), 1e9));
}

// Keep of the lines first ... stop - 1 those r with -1 < q + r dq < length.
__device__ inline void clip(double q, double dq, int length, int &first, int &stop)
{
    const double low = -1.0 - q, high = length - q;
    if (dq == 0.0) {
        if (low >= 0.0 || high <= 0.0)
            stop = first;
        return;
    }
    const double a = low / dq, b = high / dq;
    first = max(first, to_line(ceil(fmin(a, b))));
    stop = min(stop, to_line(floor(fmax(a, b))) + 1);
}
