// What depends on the settings only: indices, Clebsch-Gordan coefficients, and which products make up a component.
//
// Notation. A density U of angular momentum j (all are doubled: 0, 1, ..., twojmax) is a (j+1)x(j+1) matrix with row mb
// and column ma. Since U[j-mb][j-ma] = (-1)^(ma-mb) conj U[mb][ma], its rows mb <= j/2 ("half") determine it.
// A component is B = Re sum conj(U3) Z with the product Z[mb][ma] = sum C(mb1 mb2|mb) C(ma1 ma2|ma) U1[mb1][ma1]
// U2[mb2][ma2] of angular momenta j1, j2, coupled to j (A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015)).
// With chemflag every element has a density (a "channel") of its own.

#ifndef FITSNAP_NN_SNAP_TABLES_H
#define FITSNAP_NN_SNAP_TABLES_H

#include "options.h"

#include <vector>

namespace fitsnap_nn::snap {

struct Component {
  int channel1, j1, channel2, j2, channel3, j;
};

// dB_component / dU_channel = slope * Z, and B_component = value * Re sum conj(U_channel) Z unless value is 0.
struct Use {
  int component, channel;
  double slope, value;
};

// One product Z of two densities, which serves the components from uses[first_use] to before uses[last_use].
struct Product {
  int j;
  int coupling;    // where the coefficients of (j1, j2, j) start in `coupling_rows`
  int first_use, last_use;
  bool defining;    // whether any of its uses has a value
};

// Two densities, and their products from products[first_product] to before products[last_product], of growing j. From
// first_defining on they define components.
struct Factors {
  int channel1, j1, channel2, j2;
  int first_product, first_defining, last_product;
};

// The coefficients C(m1 m2|m) of one m: m1 from `first` to `last`, m2 = sum - m1.
struct CouplingRow {
  int first, last, sum, coefficient;
};

// Plain pointers into `Tables`, for code that is compiled for one instruction set.
struct TablesView {
  int twojmax, channels, components;
  int half_size, full_size;
  const int *half_offset, *full_offset;    // of each j
  const double *norm;                      // of each half element: sqrt((j-ma)! ma! / ((j-mb)! mb!))
  const Factors *factors;
  int n_factors;
  const Product *products;
  int n_products;
  const Use *uses;
  const CouplingRow *coupling_rows;
  const double *coefficients;
};

class Tables {
 public:
  explicit Tables(const Options &options);

  TablesView view() const;
  const std::vector<Component> &components() const { return components_; }
  // What bzeroflag takes away from each component of an atom whose own density is in `channel`.
  double shift(int component, int channel) const;

 private:
  void list_components();
  void list_products();
  int coupling(int j1, int j2, int j);

  Options options_;
  int channels_;
  std::vector<int> half_offset_, full_offset_;
  std::vector<double> norm_;
  std::vector<Component> components_;
  std::vector<Factors> factors_;
  std::vector<Product> products_;
  std::vector<Use> uses_;
  std::vector<CouplingRow> coupling_rows_;
  std::vector<double> coefficients_;
  std::vector<int> coupling_index_;
};

// <j1 m1 j2 m2 | j m> for doubled angular momenta; m1 and m2 count from 0.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j);

}    // namespace fitsnap_nn::snap

#endif
