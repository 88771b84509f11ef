// The functions of kernel.h, in the notation of tables.h. U, Z and Y are stored as half blocks. A sum over the whole
// matrix is taken over the half block with weight 2, because mirrored elements contribute complex conjugates and only
// the real part is used. The middle row of an even j is its own mirror image and gets weight 1.

#include "zi.h"

namespace fitsnap_nn::snap {

namespace {

// Cayley-Klein parameters of the rotation on the 3-sphere: alpha = conj a, beta = -conj b, gamma = b, delta = a.
template <class T> struct CayleyKlein {
  T alpha, beta, gamma, delta;
};

// One step of the recursion j-1 -> j for the Wigner matrix U_j. Row mb holds the coefficients of s^(j-ma) t^ma in
// (alpha s + beta t)^(j-mb) (gamma s + delta t)^mb. These polynomials need no square roots: LAMMPS' compute_uarray
// multiplies by rootpq at every step (D. A. Varshalovich et al., Quantum Theory of Angular Momentum, section 4.8.2),
// here TablesView::norm is applied once, after the sum over neighbours. The middle row of an even j has no row mb of
// level j-1 in the half block. It is built from row mb-1 by a factor (gamma s + delta t) instead of (alpha s + beta t).
template <class T> inline void compute_uarray_level(int j, const CayleyKlein<T> &ck, const T *below, T *level) {
  for (int mb = 0; 2 * mb <= j; ++mb) {
    const bool middle = 2 * mb == j;
    const T &left = middle ? ck.gamma : ck.alpha, &right = middle ? ck.delta : ck.beta;
    const T *from = below + (middle ? mb - 1 : mb) * j;
    T *row = level + mb * (j + 1);
    row[0] = left * from[0];
    for (int ma = 1; ma < j; ++ma)
      row[ma] = left * from[ma] + right * from[ma - 1];
    row[j] = right * from[j - 1];
  }
}

inline CayleyKlein<Complex> cayley_klein(const Vec *slot) {
  const Complex a{slot[A_RE], slot[A_IM]}, b{slot[B_RE], slot[B_IM]};
  return {conj(a), {-b.re, b.im}, b, a};
}

void compute_ui(const TablesView &tables, const Batch &batch) {
  Scratch scratch(batch.scratch);
  Complex *ulist = scratch.take<Complex>(tables.idxu_half_max), *sum = scratch.take<Complex>(tables.idxu_half_max);
  for (int channel = 0; channel < tables.channels; ++channel) {
    for (int i = 0; i < tables.idxu_half_max; ++i)
      sum[i] = Complex{};
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      const CayleyKlein<Complex> ck = cayley_klein(slot);
      // The recursion is linear, so starting it at sfac instead of 1 weights all levels. In the empty slots of a lane
      // sfac is 0: they add exact zeros, which makes the result independent of the other atoms of the batch.
      ulist[0] = {slot[SFAC], Vec{}};
      for (int j = 1; j <= tables.twojmax; ++j)
        compute_uarray_level(j, ck, ulist + tables.idxu_half_block[j - 1], ulist + tables.idxu_half_block[j]);
      for (int i = 0; i < tables.idxu_half_max; ++i)
        sum[i] = sum[i] + ulist[i];
    }
    Complex *ulisttot = complexes(batch.ulisttot) + channel * tables.idxu_half_max;
    for (int i = 0; i < tables.idxu_half_max; ++i)
      ulisttot[i] = ulisttot[i] + broadcast(tables.norm[i]) * sum[i];
  }
}

// Weight of element i of the half block of j in a sum over the whole matrix.
inline double multiplicity(int j, int i) {
  return i < (j + 1) / 2 * (j + 1) ? 2.0 : 1.0;
}

void compute_bi(const TablesView &tables, const Batch &batch, double *blist) {
  Vec *result = reinterpret_cast<Vec *>(blist);
  for_each_zi(tables, batch, true, Scratch(batch.scratch), [&](const ZIndex &z_index, const Complex *z) {
    for (const BispectrumTerm *term = tables.terms + z_index.first_term; term < tables.terms + z_index.last_term;
         ++term) {
      if (term->b_factor == 0.0)
        continue;
      const Complex *u =
          complexes(batch.ulisttot) + term->channel * tables.idxu_half_max + tables.idxu_half_block[z_index.j];
      Vec sum{};
      for (int i = 0; i < half_block_size(z_index.j); ++i)
        sum += broadcast(multiplicity(z_index.j, i)) * (u[i].re * z[i].re + u[i].im * z[i].im);
      result[term->component] = broadcast(term->b_factor) * sum;
    }
  });
}

// ylist [channel][half block element]: Y = sum over components of beta dB/dU, so that dE = Re sum conj(Y) dU over whole
// matrices. With Y the cost of the forces does not grow with the number of components: dB/dU is never formed per
// neighbour (R. Gayatri et al., arXiv:2011.12875, "adjoint refactorization").
void compute_yi(const TablesView &tables, const Batch &batch, const Vec *beta, Scratch scratch, Complex *ylist) {
  for (int i = 0; i < tables.channels * tables.idxu_half_max; ++i)
    ylist[i] = Complex{};
  for_each_zi(tables, batch, false, scratch, [&](const ZIndex &z_index, const Complex *z) {
    const BispectrumTerm *term = tables.terms + z_index.first_term, *last = tables.terms + z_index.last_term;
    // Terms are sorted by channel: the factors of one channel are summed before the matrix is scaled once.
    while (term < last) {
      const int channel = term->channel;
      Vec factor{};
      for (; term < last && term->channel == channel; ++term)
        factor += broadcast(term->dbdu_factor) * beta[term->component];
      Complex *y = ylist + channel * tables.idxu_half_max + tables.idxu_half_block[z_index.j];
      for (int i = 0; i < half_block_size(z_index.j); ++i)
        y[i] = y[i] + factor * z[i];
    }
  });
}

// Contribution of one element w of ulist, without norm, to dE/da and dE/db, where dE = Re(dE/da da + dE/db db). The
// coefficients depend on Y only and are shared by all neighbours of an atom.
struct DedabCoefficients {
  Vec a_re_re, a_re_im, a_im_re, a_im_im, b_re_re, b_re_im, b_im_re, b_im_im;
};

// The map w -> p conj(w) + q w as a real 2x2 matrix acting on (Re w, Im w).
inline void to_real_matrix(const Complex &p, const Complex &q, Vec &re_re, Vec &re_im, Vec &im_re, Vec &im_im) {
  re_re = p.re + q.re;
  re_im = p.im - q.im;
  im_re = p.im + q.im;
  im_im = q.re - p.re;
}

// Uses that the derivative of a Wigner matrix by a Cayley-Klein parameter is an element of the level below:
// d U_j[mb][ma] / d alpha = sqrt((j-ma) (j-mb)) U_(j-1)[mb][ma], and likewise for beta, gamma and delta. Each element
// of level j-1 collects the elements of Y_j to which it contributes. Therefore the forces need neither dU (LAMMPS'
// compute_duidrj) nor the level twojmax of U.
void compute_dedab_coefficients(const TablesView &tables, const Complex *ylist, DedabCoefficients *coefficients) {
  for (int j = 1; j <= tables.twojmax; ++j) {
    const Complex *above = ylist + tables.idxu_half_block[j];
    for (int mb = 0; 2 * mb <= j - 1; ++mb)
      for (int ma = 0; ma < j; ++ma) {
        const bool middle = 2 * mb == j - 1;
        const int element = tables.idxu_half_block[j - 1] + mb * j + ma;
        const Complex *row = above + mb * (j + 1), *next = row + (middle ? 0 : j + 1);
        const Vec norm = broadcast(2.0 * tables.norm[element]);
        auto root = [&](int x, int y) { return norm * broadcast(__builtin_sqrt(static_cast<double>(x * y))); };
        Complex pa = root(j - ma, j - mb) * row[ma], pb = -root(ma + 1, j - mb) * row[ma + 1];
        Complex qa{}, qb{};
        // alpha = conj a and beta = -conj b enter row mb of level j, gamma = b and delta = a row mb+1. From the middle
        // row of level j-1, row mb+1 is in the mirrored half and is already counted by the factor 2.
        if (!middle) {
          qa = root(ma + 1, mb + 1) * conj(next[ma + 1]);
          qb = root(j - ma, mb + 1) * conj(next[ma]);
        }
        DedabCoefficients &to = coefficients[element];
        to_real_matrix(pa, qa, to.a_re_re, to.a_re_im, to.a_im_re, to.a_im_im);
        to_real_matrix(pb, qb, to.b_re_re, to.b_re_im, to.b_im_re, to.b_im_im);
      }
  }
}

// dE by the displacement of one neighbour: the chain rule through a(r), b(r) and sfac(r). dedsfac is dE/dsfac.
inline void compute_dedr(const Vec *slot, const Complex &deda, const Complex &dedb, const Vec &dedsfac, Vec *dedr) {
  // a_im = -z/r0, b_re = y/r0 and b_im = -x/r0 point along the displacement; only a_re = z0/r0 depends on r alone.
  const Vec a_im = -deda.im, b_im = -dedb.im;
  const Vec *u = slot + UNIT_X;
  const Vec dedr0inv = u[1] * dedb.re - u[0] * b_im - u[2] * a_im;
  const Vec radial = slot[SFAC] * (deda.re * slot[DA_RE_DR] + slot[R_DR0INV_DR] * dedr0inv) + slot[DSFAC] * dedsfac;
  const Vec cartesian = slot[SFAC] * slot[R0INV];
  dedr[0] = radial * u[0] - cartesian * b_im;
  dedr[1] = radial * u[1] + cartesian * dedb.re;
  dedr[2] = radial * u[2] - cartesian * a_im;
}

void compute_deidrj(const TablesView &tables, const Batch &batch, const double *beta, double *deidrj) {
  Scratch scratch(batch.scratch);
  Complex *ylist = scratch.take<Complex>(tables.channels * tables.idxu_half_max);
  DedabCoefficients *coefficients = scratch.take<DedabCoefficients>(tables.idxu_half_max);
  Complex *ulist = scratch.take<Complex>(tables.idxu_half_max);
  compute_yi(tables, batch, vectors(beta), scratch, ylist);
  Vec *dedr = reinterpret_cast<Vec *>(deidrj);
  for (int channel = 0; channel < tables.channels; ++channel) {
    compute_dedab_coefficients(tables, ylist + channel * tables.idxu_half_max, coefficients);
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      const CayleyKlein<Complex> ck = cayley_klein(slot);
      Complex deda{}, dedb{};
      Vec dedsfac = ylist[channel * tables.idxu_half_max].re;
      ulist[0] = {broadcast(1.0), Vec{}};
      for (int j = 1; j <= tables.twojmax; ++j) {
        if (j > 1)
          compute_uarray_level(j - 1, ck, ulist + tables.idxu_half_block[j - 2], ulist + tables.idxu_half_block[j - 1]);
        Complex a{}, b{};
        for (int i = tables.idxu_half_block[j - 1]; i < tables.idxu_half_block[j]; ++i) {
          const Complex &w = ulist[i];
          const DedabCoefficients &c = coefficients[i];
          a = {a.re + c.a_re_re * w.re + c.a_re_im * w.im, a.im + c.a_im_re * w.re + c.a_im_im * w.im};
          b = {b.re + c.b_re_re * w.re + c.b_re_im * w.im, b.im + c.b_im_re * w.re + c.b_im_im * w.im};
        }
        // Euler's theorem: U_j is a homogeneous polynomial of degree j in a and b, so Re sum conj(Y_j) U_j, which is
        // the contribution of level j to dE/dsfac, follows from the derivatives and U_j itself is not needed.
        dedsfac += broadcast(1.0 / j) * (a.re * slot[A_RE] - a.im * slot[A_IM] + b.re * slot[B_RE] - b.im * slot[B_IM]);
        deda = deda + a;
        dedb = dedb + b;
      }
      compute_dedr(slot, deda, dedb, dedsfac, dedr + 3 * n);
    }
  }
}

inline Dual dual_constant(const Vec &re, const Vec &im) {
  return {{re, im}, {}};
}

// The Cayley-Klein parameters of one slot and their derivatives by the displacement. The total derivatives of y/r0 and
// the like have a part along the displacement (through r0) and one along the Cartesian axis.
void dual_cayley_klein(const Vec *slot, CayleyKlein<Dual> &ck) {
  const Vec *u = slot + UNIT_X;
  Dual a = dual_constant(slot[A_RE], slot[A_IM]), b = dual_constant(slot[B_RE], slot[B_IM]);
  for (int k = 0; k < 3; ++k) {
    a.derivative[k] = {slot[DA_RE_DR] * u[k], -u[2] * slot[R_DR0INV_DR] * u[k]};
    b.derivative[k] = {u[1] * slot[R_DR0INV_DR] * u[k], -u[0] * slot[R_DR0INV_DR] * u[k]};
  }
  a.derivative[2].im -= slot[R0INV];
  b.derivative[1].re += slot[R0INV];
  b.derivative[0].im -= slot[R0INV];
  ck.delta = a;
  ck.gamma = b;
  ck.alpha = {conj(a.value), {conj(a.derivative[0]), conj(a.derivative[1]), conj(a.derivative[2])}};
  auto minus_conj = [](const Complex &x) { return Complex{-x.re, x.im}; };
  ck.beta = {minus_conj(b.value),
             {minus_conj(b.derivative[0]), minus_conj(b.derivative[1]), minus_conj(b.derivative[2])}};
}

// All Z matrices times multiplicity and norm, which are thus applied once per atom and not once per neighbour.
void compute_weighted_zlist(const TablesView &tables, const Batch &batch, Scratch scratch, Complex *zlist) {
  for_each_zi(tables, batch, false, scratch, [&](const ZIndex &z_index, const Complex *z) {
    const double *norm = tables.norm + tables.idxu_half_block[z_index.j];
    for (int i = 0; i < half_block_size(z_index.j); ++i)
      *zlist++ = broadcast(multiplicity(z_index.j, i) * norm[i]) * z[i];
  });
}

std::size_t zlist_size(const TablesView &tables) {
  std::size_t size = 0;
  for (int n = 0; n < tables.idxz_max; ++n)
    size += half_block_size(tables.idxz[n].j);
  return size;
}

// Adds the terms of one Z matrix to the derivatives of the components by a neighbour of `channel`.
void add_dbidrj(const TablesView &tables, const ZIndex &z_index, int channel, const Complex *z, const Dual *ulist,
                Vec *dbdr) {
  Vec zdu[3] = {};
  bool contracted = false;
  for (int n = z_index.first_term; n < z_index.last_term; ++n) {
    const BispectrumTerm &term = tables.terms[n];
    if (term.channel != channel)
      continue;
    // The contraction is the same for all terms, but most Z matrices have none of this channel.
    if (!contracted) {
      const Dual *du = ulist + tables.idxu_half_block[z_index.j];
      for (int i = 0; i < half_block_size(z_index.j); ++i)
        for (int k = 0; k < 3; ++k)
          zdu[k] += z[i].re * du[i].derivative[k].re + z[i].im * du[i].derivative[k].im;
      contracted = true;
    }
    for (int k = 0; k < 3; ++k)
      dbdr[k * tables.components + term.component] += broadcast(term.dbdu_factor) * zdu[k];
  }
}

void compute_dbidrj(const TablesView &tables, const Batch &batch, double *dbidrj) {
  Scratch scratch(batch.scratch);
  Complex *zlist = scratch.take<Complex>(zlist_size(tables));
  Dual *ulist = scratch.take<Dual>(tables.idxu_half_max);
  compute_weighted_zlist(tables, batch, scratch, zlist);
  for (int channel = 0; channel < tables.channels; ++channel)
    for (int n = batch.channel_slots[channel]; n < batch.channel_slots[channel + 1]; ++n) {
      const Vec *slot = vectors(batch.slots) + n * SLOT_FIELDS;
      CayleyKlein<Dual> ck;
      dual_cayley_klein(slot, ck);
      ulist[0] = dual_constant(slot[SFAC], Vec{});
      for (int k = 0; k < 3; ++k)
        ulist[0].derivative[k].re = slot[DSFAC] * slot[UNIT_X + k];
      // The same recursion in dual numbers (forward-mode differentiation) gives U and dU/dr together.
      for (int j = 1; j <= tables.twojmax; ++j)
        compute_uarray_level(j, ck, ulist + tables.idxu_half_block[j - 1], ulist + tables.idxu_half_block[j]);
      Vec *dbdr = reinterpret_cast<Vec *>(dbidrj) + 3 * n * tables.components;
      for (int i = 0; i < 3 * tables.components; ++i)
        dbdr[i] = Vec{};
      const Complex *z = zlist;
      for (const ZIndex *z_index = tables.idxz; z_index < tables.idxz + tables.idxz_max; ++z_index) {
        add_dbidrj(tables, *z_index, channel, z, ulist, dbdr);
        z += half_block_size(z_index->j);
      }
    }
}

// Scratch memory of for_each_zi, in complex numbers.
std::size_t zi_scratch_size(const TablesView &tables) {
  const std::size_t levels = tables.twojmax + 1;
  return tables.channels * tables.idxu_max + levels * levels + levels * half_block_size(tables.twojmax);
}

std::size_t scratch_size(const TablesView &tables) {
  const std::size_t half = tables.idxu_half_max;
  const std::size_t complexes = zi_scratch_size(tables) + tables.channels * half + 2 * half;
  return LANES * 2 * complexes + LANES * half * (sizeof(DedabCoefficients) / sizeof(Vec));
}

std::size_t dbidrj_scratch_size(const TablesView &tables) {
  const std::size_t complexes = zi_scratch_size(tables) + zlist_size(tables);
  return LANES * 2 * complexes + LANES * tables.idxu_half_max * (sizeof(Dual) / sizeof(Vec));
}

}    // namespace

// Two levels of macros, so that SNAP_ISA is expanded before it is concatenated or stringified.
#define SNAP_CONCATENATE(x, y) x##y
#define SNAP_KERNEL(isa) SNAP_CONCATENATE(kernel_, isa)
#define SNAP_STRINGIFY(x) #x
#define SNAP_NAME(isa) SNAP_STRINGIFY(isa)

// A const object has internal linkage unless it is declared extern before.
extern const Kernel SNAP_KERNEL(SNAP_ISA);
const Kernel SNAP_KERNEL(SNAP_ISA) = {SNAP_NAME(SNAP_ISA), LANES,      scratch_size,   dbidrj_scratch_size,
                                      compute_ui,          compute_bi, compute_deidrj, compute_dbidrj};

}    // namespace fitsnap_nn::snap
