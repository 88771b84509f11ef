// Vectors of numbers of several atoms, as wide as the instruction set that this is compiled for, and complex numbers
// and derivatives made of them. For kernel.cpp only.

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

// A number and its derivatives by x, y and z.
struct Dual {
  Complex value, slope[3];
};

inline Dual operator+(const Dual &x, const Dual &y) {
  return {x.value + y.value, {x.slope[0] + y.slope[0], x.slope[1] + y.slope[1], x.slope[2] + y.slope[2]}};
}
inline Dual operator*(const Dual &x, const Dual &y) {
  Dual z{x.value * y.value, {}};
  for (int k = 0; k < 3; ++k)
    z.slope[k] = x.slope[k] * y.value + x.value * y.slope[k];
  return z;
}

inline Vec constant(double x) {
  return x - Vec{};
}
inline double sign(int power) {
  return power % 2 ? -1.0 : 1.0;
}
inline const Vec *vectors(const double *data) {
  return reinterpret_cast<const Vec *>(data);
}
inline Complex *complexes(double *data) {
  return reinterpret_cast<Complex *>(data);
}

// Hands out parts of the scratch memory.
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
