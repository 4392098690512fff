// Kernels as CUDA programs have them, compiled by nvcc where it is installed and run by NvccTest.cpp against plain C++.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" {

__global__ void reduce(const float *x, float *sum, int n) {
  __shared__ float partial[32];
  float s = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    s += x[i];
  for (int o = 16; o; o >>= 1)
    s += __shfl_xor_sync(~0u, s, o);
  if (threadIdx.x % 32 == 0)
    partial[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x == 0) {
    float t = 0;
    for (int i = 0; i < blockDim.x / 32; ++i)
      t += partial[i];
    atomicAdd(sum, t);
  }
}

__global__ void matmul(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float ta[16][17], tb[16][17];
  const int row = blockIdx.y * 16 + threadIdx.y, col = blockIdx.x * 16 + threadIdx.x;
  float s = 0;
  for (int at = 0; at < k; at += 16) {
    ta[threadIdx.y][threadIdx.x] = row < m && at + threadIdx.x < k ? a[row * k + at + threadIdx.x] : 0;
    tb[threadIdx.y][threadIdx.x] = col < n && at + threadIdx.y < k ? b[(at + threadIdx.y) * n + col] : 0;
    __syncthreads();
    for (int i = 0; i < 16; ++i)
      s = fmaf(ta[threadIdx.y][i], tb[i][threadIdx.x], s);
    __syncthreads();
  }
  if (row < m && col < n)
    c[row * n + col] = s;
}

__global__ void softmax(const float *x, float *y, int n) {
  __shared__ float partial[32];
  x += blockIdx.x * n, y += blockIdx.x * n;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float m = -INFINITY;
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    m = fmaxf(m, x[i]);
  for (int o = 16; o; o >>= 1)
    m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
  if (lane == 0)
    partial[warp] = m;
  __syncthreads();
  m = -INFINITY;
  for (int i = 0; i < blockDim.x / 32; ++i)
    m = fmaxf(m, partial[i]);
  __syncthreads();
  float s = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    s += expf(x[i] - m);
  for (int o = 16; o; o >>= 1)
    s += __shfl_down_sync(~0u, s, o);
  if (lane == 0)
    partial[warp] = s;
  __syncthreads();
  s = 0;
  for (int i = 0; i < blockDim.x / 32; ++i)
    s += partial[i];
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    y[i] = expf(x[i] - m) / s;
}

__global__ void histogram(const unsigned char *x, int n, unsigned *bins) {
  __shared__ unsigned local[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x)
    local[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&local[x[i]], 1);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x)
    if (local[i])
      atomicAdd(&bins[i], local[i]);
}

__global__ void scan(int *x, int n) { // one block
  extern __shared__ int t[];
  const int i = threadIdx.x;
  t[i] = i < n ? x[i] : 0;
  __syncthreads();
  for (int o = 1; o < blockDim.x; o *= 2) {
    const int v = i >= o ? t[i - o] : 0;
    __syncthreads();
    t[i] += v;
    __syncthreads();
  }
  if (i < n)
    x[i] = t[i];
}

__global__ void collatz(const unsigned *x, int *steps, int n) { // loops of every length, ways out of the middle
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  unsigned long long v = x[i];
  int c = 0;
  while (v != 1) {
    if (v & 1)
      v = 3 * v + 1;
    else
      v /= 2;
    if (++c > 150)
      break;
  }
  steps[i] = c;
}

__global__ void sortRows(int *x, int rows) { // arrays in local memory
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows)
    return;
  int v[16];
  for (int k = 0; k < 16; ++k)
    v[k] = x[i * 16 + k];
  for (int a = 1; a < 16; ++a) {
    const int key = v[a];
    int b = a - 1;
    for (; b >= 0 && v[b] > key; --b)
      v[b + 1] = v[b];
    v[b + 1] = key;
  }
  for (int k = 0; k < 16; ++k)
    x[i * 16 + k] = v[k];
}

__global__ void stencil(float *x, unsigned *counter,
                        int rounds) { // a barrier of the grid each round; two rows of gridDim * blockDim
  const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int r = 0; r < rounds; ++r) {
    const float *from = x + (r & 1) * n;
    x[(~r & 1) * n + i] = 0.25f * from[(i + n - 1) % n] + 0.5f * from[i] + 0.25f * from[(i + 1) % n];
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(counter, 1);
      while (*(volatile unsigned *)counter < gridDim.x * (r + 1))
        ;
      __threadfence();
    }
    __syncthreads();
  }
}

__global__ void tensorCores(const half *a, const half *b, float *d) { // 16x16 times 16x8
  const int lane = threadIdx.x, group = lane / 4, in = lane % 4;
  const unsigned *words = (const unsigned *)a;
  unsigned ra[4] = {words[group * 8 + in], words[(group + 8) * 8 + in], words[group * 8 + in + 4],
                    words[(group + 8) * 8 + in + 4]},
           rb[2];
  half2 h0 = __halves2half2(b[in * 2 * 8 + group], b[(in * 2 + 1) * 8 + group]),
        h1 = __halves2half2(b[(in * 2 + 8) * 8 + group], b[(in * 2 + 9) * 8 + group]);
  rb[0] = *(unsigned *)&h0, rb[1] = *(unsigned *)&h1;
  float c[4] = {};
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
  d[group * 8 + in * 2] = c[0], d[group * 8 + in * 2 + 1] = c[1], d[(group + 8) * 8 + in * 2] = c[2],
                     d[(group + 8) * 8 + in * 2 + 1] = c[3];
}

__device__ __noinline__ int partOf(int a, int b) { return a < b ? a * 3 : b - a; }
__device__ __noinline__ float iterate(float x, int n) {
  for (int i = 0; i < n; ++i)
    x = x * 1.5f + partOf(i, n / 2);
  return x;
}
__global__ void calls(float *y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = iterate(i * 0.25f, i % 7);
}

__global__ void mathematics(const float *x, float *y, int n) { // what the device library compiles to
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  y[i] = sinf(x[i]);
  y[n + i] = powf(fabsf(x[i]), 1.7f);
  y[2 * n + i] = erff(x[i]);
  y[3 * n + i] = logf(fabsf(x[i]) + 1e-3f);
  y[4 * n + i] = tanhf(x[i]);
  y[5 * n + i] = __half2float(hexp(__float2half(x[i] * 0.1f)));
}
}
