// What pair styles have in common whose forces come from a model in Python.

#ifndef FITSNAP_NN_PAIR_MODEL_H
#define FITSNAP_NN_PAIR_MODEL_H

#include "inner_pair.h"

#include <string>
#include <vector>

namespace fitsnap_nn {

class PairModel : public InnerPair {
 public:
  explicit PairModel(LAMMPS_NS::LAMMPS *lmp);
  ~PairModel() override;

  void coeff(int count, char **words) override;

 protected:
  // The user's units must be the model's, if it declares them.
  void check_units(const std::string &units);
  // Bits of the masks of atoms that are not there for the model. An error where neigh_modify exclude hides some of an
  // atom's neighbors, unless the model's energy is a sum over pairs.
  int absent_atoms(bool pairwise);
  // Why the run has to stop at an atom.
  std::string not_finite(const char *what, LAMMPS_NS::tagint atom, int element) const;

  std::string file_;                     // the model
  std::vector<std::string> elements_;    // that it knows
  std::vector<int> element_of_;          // of each LAMMPS type, -1 for NULL

 private:
  void allocate();
};

}    // namespace fitsnap_nn

#endif
