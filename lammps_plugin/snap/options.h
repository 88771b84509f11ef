// Settings of the bispectrum descriptors. Names and meanings are those of LAMMPS' `compute sna/atom`.

#ifndef FITSNAP_NN_SNAP_OPTIONS_H
#define FITSNAP_NN_SNAP_OPTIONS_H

#include <vector>

namespace fitsnap_nn::snap {

// The factorials in the Clebsch-Gordan coefficients overflow double precision at larger twojmax.
constexpr int MAX_TWOJMAX = 50;

struct Options {
  int twojmax = 6;
  double rcutfac = 0.0;    // cutoff of a pair = rcutfac times the sum of the radii
  double rfac0 = 0.99363;
  double rmin0 = 0.0;
  bool switchflag = true;
  bool bzeroflag = true;
  bool chemflag = false;
  bool bnormflag = false;
  bool wselfallflag = false;
  bool switchinnerflag = false;
  std::vector<double> radii, weights;    // per element: radelem and wj
  std::vector<double> sinner, dinner;    // per element, with switchinnerflag only

  int elements() const { return static_cast<int>(radii.size()); }
};

}    // namespace fitsnap_nn::snap

#endif
