// The products of densities that the components are made of, and the sums over them. For kernel.cpp only.

#ifndef FITSNAP_NN_SNAP_PRODUCTS_H
#define FITSNAP_NN_SNAP_PRODUCTS_H

#include "kernel.h"
#include "vector.h"

namespace fitsnap_nn::snap {

namespace {

// All rows of all densities.
void expand(const TablesView &tables, const Batch &batch, Complex *full) {
  for (int channel = 0; channel < tables.channels; ++channel)
    for (int j = 0; j <= tables.twojmax; ++j) {
      const Complex *half = complexes(batch.density) + channel * tables.half_size + tables.half_offset[j];
      Complex *level = full + channel * tables.full_size + tables.full_offset[j];
      for (int i = 0; i < (j / 2 + 1) * (j + 1); ++i)
        level[i] = half[i];
      for (int mb = j / 2 + 1; mb <= j; ++mb)
        for (int ma = 0; ma <= j; ++ma)
          level[mb * (j + 1) + ma] = constant(sign(ma + mb)) * conj(half[(j - mb) * (j + 1) + j - ma]);
    }
}

inline int half_elements(int j) {
  return (j / 2 + 1) * (j + 1);
}

// The products x[m1] y[m2] of two rows, of j1 + 1 and j2 + 1 elements, whose m1 + m2 is in a range.
inline void outer_product(const Complex *x, int j1, const Complex *y, int j2, int least, int most, Complex *xy) {
  for (int m1 = 0; m1 <= j1; ++m1) {
    const int last = m1 + j2 < most ? j2 : most - m1;
    for (int m2 = m1 < least ? least - m1 : 0; m2 <= last; ++m2)
      xy[m1 * (j2 + 1) + m2] = x[m1] * y[m2];
  }
}

// sum over m1 of C(m1 m2|m) x[m1] y[m2].
inline Complex couple(const CouplingRow &row, const double *coefficients, int j2, const Complex *xy) {
  const double *c = coefficients + row.coefficient - row.first;
  const Complex *element = xy + row.sum;
  Complex sum{};
  for (int m1 = row.first; m1 <= row.last; ++m1)
    sum = sum + constant(c[m1]) * element[m1 * j2];
  return sum;
}

// Half rows of the products from `first` on, one after the other. Where both densities are the same, exchanging mb1 and
// mb2 gives the same term.
void multiply(const TablesView &tables, const Factors &factors, int first, const Complex *full, Complex *xy,
              Complex *z) {
  const int j1 = factors.j1, j2 = factors.j2;
  const Product *begin = tables.products + first, *end = tables.products + factors.last_product;
  const Complex *x = full + factors.channel1 * tables.full_size + tables.full_offset[j1];
  const Complex *y = full + factors.channel2 * tables.full_size + tables.full_offset[j2];
  const bool same = x == y;
  int elements = 0;
  for (const Product *product = begin; product < end; ++product)
    elements += half_elements(product->j);
  for (int i = 0; i < elements; ++i)
    z[i] = Complex{};
  const int widest = end[-1].j;
  for (int mb1 = 0; mb1 <= j1; ++mb1)
    for (int mb2 = 0; mb2 <= (same ? mb1 : j2); ++mb2) {
      const int sum = mb1 + mb2;    // that of j1 + j2 is at the middle row
      if (2 * sum > j1 + j2 || 2 * sum < j1 + j2 - widest)
        continue;
      const int most = 2 * sum == j1 + j2 ? sum : (j1 + j2 + widest) / 2;
      outer_product(x + mb1 * (j1 + 1), j1, y + mb2 * (j2 + 1), j2, (j1 + j2 - widest) / 2, most, xy);
      Complex *level = z;
      for (const Product *product = begin; product < end; level += half_elements(product->j), ++product) {
        const int j = product->j, mb = sum - (j1 + j2 - j) / 2;
        if (mb < 0)
          continue;
        const CouplingRow *rows = tables.coupling_rows + product->coupling;
        const double c = tables.coefficients[rows[mb].coefficient + mb1 - rows[mb].first];
        const Vec weight = constant(same && mb1 > mb2 ? 2.0 * c : c);
        Complex *row = level + mb * (j + 1);
        const int columns = 2 * mb == j ? mb + 1 : j + 1;
        for (int ma = 0; ma < columns; ++ma)
          row[ma] = row[ma] + weight * couple(rows[ma], tables.coefficients, j2, xy);
      }
    }
  for (const Product *product = begin; product < end; z += half_elements(product->j), ++product) {
    const int j = product->j, mb = j / 2;
    for (int ma = mb + 1; 2 * mb == j && ma <= j; ++ma)
      z[mb * (j + 1) + ma] = constant(sign(ma + mb)) * conj(z[mb * (j + 1) + j - ma]);
  }
}

// Calls visit(product, half rows) for all products, or for those that define components.
template <class Visit>
void each_product(const TablesView &tables, const Batch &batch, bool defining, Scratch scratch, Visit visit) {
  const int levels = tables.twojmax + 1;
  Complex *full = scratch.take<Complex>(tables.channels * tables.full_size);
  Complex *xy = scratch.take<Complex>(levels * levels);
  Complex *z = scratch.take<Complex>(levels * half_elements(tables.twojmax));
  expand(tables, batch, full);
  for (const Factors *factors = tables.factors; factors < tables.factors + tables.n_factors; ++factors) {
    const int first = defining ? factors->first_defining : factors->first_product;
    if (first == factors->last_product)
      continue;
    multiply(tables, *factors, first, full, xy, z);
    const Complex *level = z;
    for (const Product *product = tables.products + first; product < tables.products + factors->last_product;
         ++product) {
      visit(*product, level);
      level += half_elements(product->j);
    }
  }
}

}    // namespace

}    // namespace fitsnap_nn::snap

#endif
