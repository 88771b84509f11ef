// See kernel.h. Densities are kept in half rows; an element counts twice in a sum over the whole matrix unless it is in
// the middle row, which holds both of the elements that are each other's mirror image.

#include "products.h"

namespace fitsnap_nn::snap {

namespace {

// Of (alpha s + beta t)^(j-mb) (gamma s + delta t)^mb, row mb of level j holds the coefficients of s^(j-ma) t^ma. Times
// `norm` they are the Wigner matrix of angular momentum j, for alpha = conj a, beta = -conj b, gamma = b, delta = a.
template <class T> struct Rotation {
  T alpha, beta, gamma, delta;
};

template <class T> inline void raise(int j, const Rotation<T> &rotation, const T *below, T *level) {
  for (int mb = 0; 2 * mb <= j; ++mb) {
    const bool middle = 2 * mb == j;
    const T &left = middle ? rotation.gamma : rotation.alpha, &right = middle ? rotation.delta : rotation.beta;
    const T *from = below + (middle ? mb - 1 : mb) * j;
    T *row = level + mb * (j + 1);
    row[0] = left * from[0];
    for (int ma = 1; ma < j; ++ma)
      row[ma] = left * from[ma] + right * from[ma - 1];
    row[j] = right * from[j - 1];
  }
}

inline Rotation<Complex> rotation(const Vec *slot) {
  const Complex a{slot[A_RE], slot[A_IM]}, b{slot[B_RE], slot[B_IM]};
  return {conj(a), {-b.re, b.im}, b, a};
}

void densities(const TablesView &tables, const Batch &batch) {
  Scratch scratch(batch.scratch);
  Complex *power = scratch.take<Complex>(tables.half_size), *sum = scratch.take<Complex>(tables.half_size);
  for (int channel = 0; channel < tables.channels; ++channel) {
    for (int i = 0; i < tables.half_size; ++i)
      sum[i] = Complex{};
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      const Rotation<Complex> turn = rotation(slot);
      power[0] = {slot[WEIGHT], Vec{}};
      for (int j = 1; j <= tables.twojmax; ++j)
        raise(j, turn, power + tables.half_offset[j - 1], power + tables.half_offset[j]);
      for (int i = 0; i < tables.half_size; ++i)
        sum[i] = sum[i] + power[i];
    }
    Complex *density = complexes(batch.density) + channel * tables.half_size;
    for (int i = 0; i < tables.half_size; ++i)
      density[i] = density[i] + constant(tables.norm[i]) * sum[i];
  }
}

// How often element i of the half rows of angular momentum j counts.
inline double multiplicity(int j, int i) {
  return i < (j + 1) / 2 * (j + 1) ? 2.0 : 1.0;
}

void components(const TablesView &tables, const Batch &batch, double *components) {
  Vec *result = reinterpret_cast<Vec *>(components);
  each_product(tables, batch, true, Scratch(batch.scratch), [&](const Product &product, const Complex *z) {
    for (const Use *use = tables.uses + product.first_use; use < tables.uses + product.last_use; ++use) {
      if (use->value == 0.0)
        continue;
      const Complex *u = complexes(batch.density) + use->channel * tables.half_size + tables.half_offset[product.j];
      Vec sum{};
      for (int i = 0; i < half_elements(product.j); ++i)
        sum += constant(multiplicity(product.j, i)) * (u[i].re * z[i].re + u[i].im * z[i].im);
      result[use->component] = constant(use->value) * sum;
    }
  });
}

// [channel][half element]: G, so that dE = Re sum conj(G) dU over whole matrices.
void adjoint(const TablesView &tables, const Batch &batch, const Vec *beta, Scratch scratch, Complex *g) {
  for (int i = 0; i < tables.channels * tables.half_size; ++i)
    g[i] = Complex{};
  each_product(tables, batch, false, scratch, [&](const Product &product, const Complex *z) {
    const Use *use = tables.uses + product.first_use, *last = tables.uses + product.last_use;
    while (use < last) {
      const int channel = use->channel;
      Vec factor{};
      for (; use < last && use->channel == channel; ++use)
        factor += constant(use->slope) * beta[use->component];
      Complex *level = g + channel * tables.half_size + tables.half_offset[product.j];
      for (int i = 0; i < half_elements(product.j); ++i)
        level[i] = level[i] + factor * z[i];
    }
  });
}

// Coefficients of one element w of `raise`'s levels in dE/da and dE/db, where dE = Re(dE/da da + dE/db db).
struct Pull {
  Vec a_re_re, a_re_im, a_im_re, a_im_im, b_re_re, b_re_im, b_im_re, b_im_im;
};

// p conj(w) + q w, split into what multiplies the real and the imaginary part of w.
inline void split(const Complex &p, const Complex &q, Vec &re_re, Vec &re_im, Vec &im_re, Vec &im_im) {
  re_re = p.re + q.re;
  re_im = p.im - q.im;
  im_re = p.im + q.im;
  im_im = q.re - p.re;
}

// From d U_j / d alpha [mb][ma] = sqrt((j-ma) (j-mb)) U_(j-1)[mb][ma] and so on: the elements of level j-1 that
// contribute to the derivatives of level j, in half rows.
void pulls(const TablesView &tables, const Complex *g, Pull *pull) {
  for (int j = 1; j <= tables.twojmax; ++j) {
    const Complex *above = g + tables.half_offset[j];
    for (int mb = 0; 2 * mb <= j - 1; ++mb)
      for (int ma = 0; ma < j; ++ma) {
        const bool middle = 2 * mb == j - 1;
        const int element = tables.half_offset[j - 1] + mb * j + ma;
        const Complex *row = above + mb * (j + 1), *next = row + (middle ? 0 : j + 1);
        const Vec norm = constant(2.0 * tables.norm[element]);
        auto root = [&](int x, int y) { return norm * constant(__builtin_sqrt(static_cast<double>(x * y))); };
        Complex pa = root(j - ma, j - mb) * row[ma], pb = -root(ma + 1, j - mb) * row[ma + 1];
        Complex qa{}, qb{};
        if (!middle) {
          qa = root(ma + 1, mb + 1) * conj(next[ma + 1]);
          qb = root(j - ma, mb + 1) * conj(next[ma]);
        }
        Pull &to = pull[element];
        split(pa, qa, to.a_re_re, to.a_re_im, to.a_im_re, to.a_im_im);
        split(pb, qb, to.b_re_re, to.b_re_im, to.b_im_re, to.b_im_im);
      }
  }
}

// The force of one slot from the sums over all levels: the chain rule through a and b.
inline void pull_back(const Vec *slot, const Complex &da, const Complex &db, const Vec &energy, Vec *force) {
  const Vec a_im = -da.im, b_im = -db.im;
  const Vec *u = slot + DIRECTION_X;
  const Vec turn = u[1] * db.re - u[0] * b_im - u[2] * a_im;
  const Vec radial = slot[WEIGHT] * (da.re * slot[D_A_RE] + slot[D_INVERSE] * turn) + slot[D_WEIGHT] * energy;
  const Vec across = slot[WEIGHT] * slot[INVERSE];
  force[0] = radial * u[0] - across * b_im;
  force[1] = radial * u[1] + across * db.re;
  force[2] = radial * u[2] - across * a_im;
}

void forces(const TablesView &tables, const Batch &batch, const double *beta, double *forces) {
  Scratch scratch(batch.scratch);
  Complex *g = scratch.take<Complex>(tables.channels * tables.half_size);
  Pull *pull = scratch.take<Pull>(tables.half_size);
  Complex *power = scratch.take<Complex>(tables.half_size);
  adjoint(tables, batch, vectors(beta), scratch, g);
  Vec *force = reinterpret_cast<Vec *>(forces);
  for (int channel = 0; channel < tables.channels; ++channel) {
    pulls(tables, g + channel * tables.half_size, pull);
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      const Rotation<Complex> turn = rotation(slot);
      Complex da{}, db{};
      Vec energy = g[channel * tables.half_size].re;
      power[0] = {constant(1.0), Vec{}};
      for (int j = 1; j <= tables.twojmax; ++j) {
        if (j > 1)
          raise(j - 1, turn, power + tables.half_offset[j - 2], power + tables.half_offset[j - 1]);
        Complex a{}, b{};
        for (int i = tables.half_offset[j - 1]; i < tables.half_offset[j]; ++i) {
          const Complex &w = power[i];
          const Pull &p = pull[i];
          a = {a.re + p.a_re_re * w.re + p.a_re_im * w.im, a.im + p.a_im_re * w.re + p.a_im_im * w.im};
          b = {b.re + p.b_re_re * w.re + p.b_re_im * w.im, b.im + p.b_im_re * w.re + p.b_im_im * w.im};
        }
        // Level j is a homogeneous polynomial of degree j in a and b.
        energy += constant(1.0 / j) * (a.re * slot[A_RE] - a.im * slot[A_IM] + b.re * slot[B_RE] - b.im * slot[B_IM]);
        da = da + a;
        db = db + b;
      }
      pull_back(slot, da, db, energy, force + 3 * n);
    }
  }
}

inline Dual parameter(const Vec &re, const Vec &im) {
  return {{re, im}, {}};
}

// a and b of one slot with their derivatives.
void dual_rotation(const Vec *slot, Rotation<Dual> &turn) {
  const Vec *u = slot + DIRECTION_X;
  Dual a = parameter(slot[A_RE], slot[A_IM]), b = parameter(slot[B_RE], slot[B_IM]);
  for (int k = 0; k < 3; ++k) {
    a.slope[k] = {slot[D_A_RE] * u[k], -u[2] * slot[D_INVERSE] * u[k]};
    b.slope[k] = {u[1] * slot[D_INVERSE] * u[k], -u[0] * slot[D_INVERSE] * u[k]};
  }
  a.slope[2].im -= slot[INVERSE];
  b.slope[1].re += slot[INVERSE];
  b.slope[0].im -= slot[INVERSE];
  turn.delta = a;
  turn.gamma = b;
  turn.alpha = {conj(a.value), {conj(a.slope[0]), conj(a.slope[1]), conj(a.slope[2])}};
  auto minus_conj = [](const Complex &x) { return Complex{-x.re, x.im}; };
  turn.beta = {minus_conj(b.value), {minus_conj(b.slope[0]), minus_conj(b.slope[1]), minus_conj(b.slope[2])}};
}

// All products, with what the sums over half rows multiply them by.
void weighted_products(const TablesView &tables, const Batch &batch, Scratch scratch, Complex *weighted) {
  each_product(tables, batch, false, scratch, [&](const Product &product, const Complex *z) {
    const double *norm = tables.norm + tables.half_offset[product.j];
    for (int i = 0; i < half_elements(product.j); ++i)
      *weighted++ = constant(multiplicity(product.j, i) * norm[i]) * z[i];
  });
}

std::size_t products_size(const TablesView &tables) {
  std::size_t size = 0;
  for (int n = 0; n < tables.n_products; ++n)
    size += half_elements(tables.products[n].j);
  return size;
}

// The uses of a product by components whose density of `channel` changes.
void add_gradient(const TablesView &tables, const Product &product, int channel, const Complex *z, const Dual *power,
                  Vec *gradient) {
  Vec slope[3] = {};
  bool known = false;
  for (int n = product.first_use; n < product.last_use; ++n) {
    const Use &use = tables.uses[n];
    if (use.channel != channel)
      continue;
    if (!known) {
      const Dual *level = power + tables.half_offset[product.j];
      for (int i = 0; i < half_elements(product.j); ++i)
        for (int k = 0; k < 3; ++k)
          slope[k] += z[i].re * level[i].slope[k].re + z[i].im * level[i].slope[k].im;
      known = true;
    }
    for (int k = 0; k < 3; ++k)
      gradient[k * tables.components + use.component] += constant(use.slope) * slope[k];
  }
}

void gradients(const TablesView &tables, const Batch &batch, double *gradients) {
  Scratch scratch(batch.scratch);
  Complex *products = scratch.take<Complex>(products_size(tables));
  Dual *power = scratch.take<Dual>(tables.half_size);
  weighted_products(tables, batch, scratch, products);
  for (int channel = 0; channel < tables.channels; ++channel)
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      Rotation<Dual> turn;
      dual_rotation(slot, turn);
      power[0] = parameter(slot[WEIGHT], Vec{});
      for (int k = 0; k < 3; ++k)
        power[0].slope[k].re = slot[D_WEIGHT] * slot[DIRECTION_X + k];
      for (int j = 1; j <= tables.twojmax; ++j)
        raise(j, turn, power + tables.half_offset[j - 1], power + tables.half_offset[j]);
      Vec *gradient = reinterpret_cast<Vec *>(gradients) + 3 * n * tables.components;
      for (int i = 0; i < 3 * tables.components; ++i)
        gradient[i] = Vec{};
      const Complex *z = products;
      for (const Product *product = tables.products; product < tables.products + tables.n_products; ++product) {
        add_gradient(tables, *product, channel, z, power, gradient);
        z += half_elements(product->j);
      }
    }
}

// Of each_product, in complex numbers.
std::size_t product_scratch_size(const TablesView &tables) {
  const std::size_t levels = tables.twojmax + 1;
  return tables.channels * tables.full_size + levels * levels + levels * half_elements(tables.twojmax);
}

std::size_t scratch_size(const TablesView &tables) {
  const std::size_t half = tables.half_size;
  const std::size_t complexes = product_scratch_size(tables) + tables.channels * half + 2 * half;
  return LANES * 2 * complexes + LANES * half * (sizeof(Pull) / sizeof(Vec));
}

std::size_t gradient_scratch_size(const TablesView &tables) {
  const std::size_t complexes = product_scratch_size(tables) + products_size(tables);
  return LANES * 2 * complexes + LANES * tables.half_size * (sizeof(Dual) / sizeof(Vec));
}

}    // namespace

#define SNAP_JOIN(x, y) x##y
#define SNAP_KERNEL(isa) SNAP_JOIN(kernel_, isa)
#define SNAP_TEXT(x) #x
#define SNAP_NAME(isa) SNAP_TEXT(isa)

extern const Kernel SNAP_KERNEL(SNAP_ISA);
const Kernel SNAP_KERNEL(SNAP_ISA) = {SNAP_NAME(SNAP_ISA), LANES,      scratch_size, gradient_scratch_size,
                                      densities,           components, forces,       gradients};

}    // namespace fitsnap_nn::snap
