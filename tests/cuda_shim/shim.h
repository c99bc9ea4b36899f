// Enough of CUDA for a C++ compiler to run our kernels on the CPU: one thread after another, block after block.
//
// The threads of a block are coroutines (ucontext) where the kernel calls __syncthreads, so that a barrier really is
// one; elsewhere a plain loop. Variables in shared memory belong to the block that runs, of which there is one.

#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static

struct dim3 {
    unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) double2 {
    double x, y;
};

template <class T> inline T __ldg(const T *place) { return *place; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rd(double a, double b) { return std::floor(a) + b; } // of our use: b is integer, the sum exact
inline int __double2loint(double a)
{
    long long bits;
    std::memcpy(&bits, &a, sizeof bits);
    return int(bits);
}
inline double __dadd_rn(double a, double b) { return a + b; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
using std::ceil;
using std::fabs;
using std::floor;
using std::fma;
using std::fmax;
inline float floorf(float a) { return std::floor(a); }
inline float ceilf(float a) { return std::ceil(a); }
inline float fabsf(float a) { return std::fabs(a); }
inline float fminf(float a, float b) { return std::fmin(a, b); }
inline float fmaxf(float a, float b) { return std::fmax(a, b); }
using std::fmin;
using std::sqrt;

namespace shim {

struct Fiber {
    ucontext_t context;
    dim3 index;
    bool done;
};
static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static Fiber *running = nullptr;
static void (*body)(void **) = nullptr;
static void **arguments = nullptr;

static void start()
{
    body(arguments);
    running->done = true;
}

// Everyone runs up to the barrier before anyone goes on.
static void run_block_with_barriers()
{
    const size_t stack = 64 * 1024, count = size_t(blockDim.x) * blockDim.y * blockDim.z;
    fibers.assign(count, Fiber());
    stacks.resize(count * stack);
    for (size_t t = 0; t < count; ++t) {
        Fiber &fiber = fibers[t];
        fiber.index = {unsigned(t % blockDim.x), unsigned(t / blockDim.x % blockDim.y),
                       unsigned(t / blockDim.x / blockDim.y)};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = &stacks[t * stack];
        fiber.context.uc_stack.ss_size = stack;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, start, 0);
    }
    for (bool busy = true; busy;) {
        busy = false;
        for (Fiber &fiber : fibers) {
            if (fiber.done)
                continue;
            running = &fiber;
            threadIdx = fiber.index;
            swapcontext(&scheduler, &fiber.context);
            busy = busy || !fiber.done;
        }
    }
}

static void run_block()
{
    for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
        for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
                body(arguments);
}

template <auto kernel, class... A, size_t... I> void call(void (*)(A...), void **given, std::index_sequence<I...>)
{
    kernel(*static_cast<A *>(given[I])...);
}

template <auto kernel> void unpack(void **given)
{
    [&]<class... A>(void (*f)(A...)) { call<kernel>(f, given, std::index_sequence_for<A...>()); }(kernel);
}

template <auto kernel> void launch(const unsigned *grid, const unsigned *block, void **given, bool barriers)
{
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = unpack<kernel>;
    arguments = given;
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                barriers ? run_block_with_barriers() : run_block();
}

// One letter per parameter, for the launcher to compare with what it is given.
template <class T> struct letter;
template <> struct letter<int> { static constexpr char value = 'i'; };
template <> struct letter<long long> { static constexpr char value = 'l'; };
template <> struct letter<double> { static constexpr char value = 'd'; };
template <> struct letter<float *> { static constexpr char value = 'F'; };
template <> struct letter<const float *> { static constexpr char value = 'f'; };
template <> struct letter<double *> { static constexpr char value = 'D'; };
template <> struct letter<const double *> { static constexpr char value = 'c'; };
template <> struct letter<const int *> { static constexpr char value = 'n'; };
template <> struct letter<float2 *> { static constexpr char value = 'Z'; };
template <> struct letter<const float2 *> { static constexpr char value = 'z'; };
template <> struct letter<double2 *> { static constexpr char value = 'W'; };
template <> struct letter<const double2 *> { static constexpr char value = 'w'; };

template <class... A> const char *signature(void (*)(A...))
{
    static const char text[] = {letter<A>::value..., 0};
    return text;
}

} // namespace shim

inline void __syncthreads() { swapcontext(&shim::running->context, &shim::scheduler); }
