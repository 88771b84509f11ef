// Everything that depends on the settings only: index lists, Clebsch-Gordan coefficients, and the Z matrices needed for
// each bispectrum component. Names follow LAMMPS' class SNA (idxu, idxz, idxb, cglist).
//
// Notation of A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015). Angular momenta are doubled: j = 0, 1, ...,
// twojmax. U_j is a (j+1) x (j+1) matrix with row mb and column ma. Since
//   U[j-mb][j-ma] = (-1)^(ma-mb) conj U[mb][ma],
// its rows mb <= j/2, the "half block", determine it. A component is
//   B = Re sum conj(U_j) Z_j,   Z_j[mb][ma] = sum C(mb1 mb2|mb) C(ma1 ma2|ma) U_j1[mb1][ma1] U_j2[mb2][ma2].
// With chemflag each element has a U of its own, a "channel"; without, all elements share channel 0.

#ifndef FITSNAP_NN_SNAP_TABLES_H
#define FITSNAP_NN_SNAP_TABLES_H

#include "options.h"

#include <vector>

namespace fitsnap_nn::snap {

// Entry of idxb: one bispectrum component.
struct BIndex {
  int channel1, j1, channel2, j2, channel3, j;
};

// Use of one Z matrix in one component: it contributes dbdu_factor * Z to dB_component / dU_channel and, unless
// b_factor is 0, B_component = b_factor * Re sum conj(U_channel) Z.
struct BispectrumTerm {
  int component, channel;
  double dbdu_factor, b_factor;
};

// Entry of idxz: one Z matrix and its terms, terms[first_term] to before terms[last_term].
struct ZIndex {
  int j;
  int cg_row;    // first row of (j1, j2, j) in cg_rows
  int first_term, last_term;
  bool has_b;    // whether a term has a b_factor
};

// A pair of U matrices and its Z matrices in order of j, idxz[first_z] to before idxz[last_z]. Those from first_b on
// include all that occur in a component B.
struct UPair {
  int channel1, j1, channel2, j2;
  int first_z, first_b, last_z;
};

// The coefficients C(m1 m2|m) of one m, from cglist[first_cg]: m1 runs from `first` to `last`, m2 = sum - m1.
struct ClebschGordanRow {
  int first, last, sum, first_cg;
};

// Plain pointers into Tables for kernel.cpp, which must not use the standard library (see kernel.h).
struct TablesView {
  int twojmax, channels, components;
  int idxu_half_max, idxu_max;
  const int *idxu_half_block, *idxu_block;    // [j]: first element of the half block and of the whole matrix
  const double *norm;    // [half block element]: sqrt((j-ma)! ma! / ((j-mb)! mb!)), see compute_uarray_level
  const UPair *upairs;
  int upairs_max;
  const ZIndex *idxz;
  int idxz_max;
  const BispectrumTerm *terms;
  const ClebschGordanRow *cg_rows;
  const double *cglist;
};

class Tables {
 public:
  explicit Tables(const Options &options);

  TablesView view() const;
  const std::vector<BIndex> &components() const { return idxb_; }
  // Value that bzeroflag subtracts from a component of an atom whose element has `channel`.
  double bzero(int component, int channel) const;

 private:
  void build_idxb();
  void build_idxz();
  int find_cg_rows(int j1, int j2, int j);

  Options options_;
  int channels_;
  std::vector<int> idxu_half_block_, idxu_block_;
  std::vector<double> norm_;
  std::vector<BIndex> idxb_;
  std::vector<UPair> upairs_;
  std::vector<ZIndex> idxz_;
  std::vector<BispectrumTerm> terms_;
  std::vector<ClebschGordanRow> cg_rows_;
  std::vector<double> cglist_;
  std::vector<int> cg_index_;
};

// <j1 m1 j2 m2 | j m> for doubled angular momenta; m1 and m2 are row indices from 0 to j1 and j2.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j);

}    // namespace fitsnap_nn::snap

#endif
