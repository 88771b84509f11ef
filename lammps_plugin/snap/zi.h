// The Clebsch-Gordan products Z of pairs of U matrices, and the loop over all of them. For kernel.cpp only.

#ifndef FITSNAP_NN_SNAP_ZI_H
#define FITSNAP_NN_SNAP_ZI_H

#include "kernel.h"
#include "vector.h"

namespace fitsnap_nn::snap {

namespace {

// Whole matrices from half blocks, by the symmetry U[j-mb][j-ma] = (-1)^(ma-mb) conj U[mb][ma]. The loops over
// Clebsch-Gordan coefficients then need no case distinction between the halves.
void expand_ulisttot(const TablesView &tables, const Batch &batch, Complex *full) {
  for (int channel = 0; channel < tables.channels; ++channel)
    for (int j = 0; j <= tables.twojmax; ++j) {
      const Complex *half = complexes(batch.ulisttot) + channel * tables.idxu_half_max + tables.idxu_half_block[j];
      Complex *level = full + channel * tables.idxu_max + tables.idxu_block[j];
      for (int i = 0; i < (j / 2 + 1) * (j + 1); ++i)
        level[i] = half[i];
      for (int mb = j / 2 + 1; mb <= j; ++mb)
        for (int ma = 0; ma <= j; ++ma)
          level[mb * (j + 1) + ma] = broadcast(parity_sign(ma + mb)) * conj(half[(j - mb) * (j + 1) + j - ma]);
    }
}

inline int half_block_size(int j) {
  return (j / 2 + 1) * (j + 1);
}

// u1u2[m1][m2] = u1[m1] u2[m2] of a row of U_j1 and a row of U_j2, where min_sum <= m1 + m2 <= max_sum.
inline void outer_product(const Complex *u1, int j1, const Complex *u2, int j2, int min_sum, int max_sum,
                          Complex *u1u2) {
  for (int m1 = 0; m1 <= j1; ++m1) {
    const int last = m1 + j2 < max_sum ? j2 : max_sum - m1;
    for (int m2 = m1 < min_sum ? min_sum - m1 : 0; m2 <= last; ++m2)
      u1u2[m1 * (j2 + 1) + m2] = u1[m1] * u2[m2];
  }
}

// Sum over m1 of C(m1 m2|m) u1[m1] u2[m2]. Since m1 + m2 is fixed, consecutive terms are j2 elements apart in u1u2.
inline Complex contract_cg(const ClebschGordanRow &row, const double *cglist, int j2, const Complex *u1u2) {
  const double *c = cglist + row.first_cg - row.first;
  const Complex *element = u1u2 + row.sum;
  Complex sum{};
  for (int m1 = row.first; m1 <= row.last; ++m1)
    sum = sum + broadcast(c[m1]) * element[m1 * j2];
  return sum;
}

// The half blocks of idxz[first_z] to the last of `pair`, one after the other. The loop over pairs of rows is
// outermost, so that the outer product of two rows is formed once and serves all j; LAMMPS' compute_zi forms it once
// per (j, ma, mb). If both matrices are the same, exchanging mb1 and mb2 gives the same term, which is computed once
// and doubled.
void compute_zi(const TablesView &tables, const UPair &pair, int first_z, const Complex *full, Complex *u1u2,
                Complex *z) {
  const int j1 = pair.j1, j2 = pair.j2;
  const ZIndex *begin = tables.idxz + first_z, *end = tables.idxz + pair.last_z;
  const Complex *u1 = full + pair.channel1 * tables.idxu_max + tables.idxu_block[j1];
  const Complex *u2 = full + pair.channel2 * tables.idxu_max + tables.idxu_block[j2];
  const bool same = u1 == u2;
  int elements = 0;
  for (const ZIndex *z_index = begin; z_index < end; ++z_index)
    elements += half_block_size(z_index->j);
  for (int i = 0; i < elements; ++i)
    z[i] = Complex{};
  const int max_j = end[-1].j;
  for (int mb1 = 0; mb1 <= j1; ++mb1)
    for (int mb2 = 0; mb2 <= (same ? mb1 : j2); ++mb2) {
      // Only rows 2 mb <= j of Z are stored: 2 (mb1 + mb2) <= j1 + j2, where equality is the middle row.
      const int sum = mb1 + mb2;
      if (2 * sum > j1 + j2 || 2 * sum < j1 + j2 - max_j)
        continue;
      // Of a middle row the elements ma <= mb suffice; the others follow by symmetry, below.
      const int max_sum = 2 * sum == j1 + j2 ? sum : (j1 + j2 + max_j) / 2;
      outer_product(u1 + mb1 * (j1 + 1), j1, u2 + mb2 * (j2 + 1), j2, (j1 + j2 - max_j) / 2, max_sum, u1u2);
      Complex *block = z;
      for (const ZIndex *z_index = begin; z_index < end; block += half_block_size(z_index->j), ++z_index) {
        const int j = z_index->j, mb = sum - (j1 + j2 - j) / 2;
        if (mb < 0)
          continue;
        const ClebschGordanRow *rows = tables.cg_rows + z_index->cg_row;
        const double c = tables.cglist[rows[mb].first_cg + mb1 - rows[mb].first];
        const Vec weight = broadcast(same && mb1 > mb2 ? 2.0 * c : c);
        Complex *row = block + mb * (j + 1);
        const int columns = 2 * mb == j ? mb + 1 : j + 1;
        for (int ma = 0; ma < columns; ++ma)
          row[ma] = row[ma] + weight * contract_cg(rows[ma], tables.cglist, j2, u1u2);
      }
    }
  for (const ZIndex *z_index = begin; z_index < end; z += half_block_size(z_index->j), ++z_index) {
    const int j = z_index->j, mb = j / 2;
    for (int ma = mb + 1; 2 * mb == j && ma <= j; ++ma)
      z[mb * (j + 1) + ma] = broadcast(parity_sign(ma + mb)) * conj(z[mb * (j + 1) + j - ma]);
  }
}

// Calls visit(ZIndex, half block of Z) for all Z matrices, or only for those that occur in a component B. Z is not
// kept: each matrix is consumed while it is in the cache.
template <class Visit>
void for_each_zi(const TablesView &tables, const Batch &batch, bool only_b, Scratch scratch, Visit visit) {
  const int levels = tables.twojmax + 1;
  Complex *full = scratch.take<Complex>(tables.channels * tables.idxu_max);
  Complex *u1u2 = scratch.take<Complex>(levels * levels);
  Complex *z = scratch.take<Complex>(levels * half_block_size(tables.twojmax));
  expand_ulisttot(tables, batch, full);
  for (const UPair *pair = tables.upairs; pair < tables.upairs + tables.upairs_max; ++pair) {
    const int first = only_b ? pair->first_b : pair->first_z;
    if (first == pair->last_z)
      continue;
    compute_zi(tables, *pair, first, full, u1u2, z);
    const Complex *block = z;
    for (const ZIndex *z_index = tables.idxz + first; z_index < tables.idxz + pair->last_z; ++z_index) {
      visit(*z_index, block);
      block += half_block_size(z_index->j);
    }
  }
}

}    // namespace

}    // namespace fitsnap_nn::snap

#endif
