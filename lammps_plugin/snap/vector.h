// SIMD vectors with one atom per lane, as wide as the registers of the instruction set that this is compiled for, and
// complex and dual numbers of them. For kernel.cpp only.
//
// Everything is in an unnamed namespace: kernel.cpp is compiled once per instruction set, and without internal linkage
// the linker would keep a single copy of each function for all of them.

#ifndef FITSNAP_NN_SNAP_VECTOR_H
#define FITSNAP_NN_SNAP_VECTOR_H

#if defined(__AVX512F__)
#define SNAP_LANES 8
#elif defined(__AVX2__)
#define SNAP_LANES 4
#else
#define SNAP_LANES 2
#endif

namespace fitsnap_nn::snap {

namespace {

constexpr int LANES = SNAP_LANES;
// GCC's and Clang's vector extension: operators work lane by lane, without intrinsics per instruction set.
typedef double Vec __attribute__((vector_size(sizeof(double) * LANES)));

struct Complex {
  Vec re, im;
};

inline Complex operator+(const Complex &x, const Complex &y) {
  return {x.re + y.re, x.im + y.im};
}
inline Complex operator*(const Complex &x, const Complex &y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
inline Complex operator*(const Vec &x, const Complex &y) {
  return {x * y.re, x * y.im};
}
inline Complex conj(const Complex &x) {
  return {x.re, -x.im};
}

// Dual number for forward-mode differentiation: a value and its derivatives by x, y and z.
struct Dual {
  Complex value, derivative[3];
};

inline Dual operator+(const Dual &x, const Dual &y) {
  return {x.value + y.value,
          {x.derivative[0] + y.derivative[0], x.derivative[1] + y.derivative[1], x.derivative[2] + y.derivative[2]}};
}
inline Dual operator*(const Dual &x, const Dual &y) {
  Dual z{x.value * y.value, {}};
  for (int k = 0; k < 3; ++k)
    z.derivative[k] = x.derivative[k] * y.value + x.value * y.derivative[k];
  return z;
}

// The vector extension has no conversion from double, but an operation of a scalar and a vector broadcasts the scalar.
inline Vec broadcast(double x) {
  return x - Vec{};
}
inline double parity_sign(int power) {
  return power % 2 ? -1.0 : 1.0;
}
inline const Vec *vectors(const double *data) {
  return reinterpret_cast<const Vec *>(data);
}
inline Complex *complexes(double *data) {
  return reinterpret_cast<Complex *>(data);
}

// Allocates consecutive parts of the scratch memory. Passed by value: a callee's parts are free again when it returns.
class Scratch {
 public:
  explicit Scratch(double *memory) : memory_(memory) {}
  template <class T> T *take(int count) {
    T *part = reinterpret_cast<T *>(memory_);
    memory_ += count * (sizeof(T) / sizeof(double));
    return part;
  }

 private:
  double *memory_;
};

}    // namespace

}    // namespace fitsnap_nn::snap

#endif
