// The settings of the bispectrum descriptors, with the names and meanings of LAMMPS' `compute sna/atom`.

#ifndef FITSNAP_NN_SNAP_OPTIONS_H
#define FITSNAP_NN_SNAP_OPTIONS_H

#include <vector>

namespace fitsnap_nn::snap {

struct Options {
  int twojmax = 6;
  double rcutfac = 0.0;    // times the sum of two radii: the cutoff of a pair
  double rfac0 = 0.99363;
  double rmin0 = 0.0;
  bool switchflag = true;
  bool bzeroflag = true;
  bool chemflag = false;
  bool bnormflag = false;
  bool wselfallflag = false;
  bool switchinnerflag = false;
  std::vector<double> radii, weights;    // one for each element
  std::vector<double> sinner, dinner;    // one for each element if switchinnerflag

  int elements() const { return static_cast<int>(radii.size()); }
};

}    // namespace fitsnap_nn::snap

#endif
