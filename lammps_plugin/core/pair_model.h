// Base class of the pair styles whose forces come from a Python model: elements, units, excluded atoms and
// targets.

#ifndef FITSNAP_NN_PAIR_MODEL_H
#define FITSNAP_NN_PAIR_MODEL_H

#include "atom_targets.h"
#include "inner_pair.h"

#include <string>
#include <vector>

namespace fitsnap_nn {

class PairModel : public InnerPair {
 public:
  explicit PairModel(LAMMPS_NS::LAMMPS *lmp);
  ~PairModel() override;

  void coeff(int narg, char **arg) override;
  void *extract(const char *name, int &dimension) override;
  void *extract_peratom(const char *name, int &columns) override;

 protected:
  // Evaluates the requested targets on the atoms of this step. Collective.
  virtual void evaluate_targets() = 0;
  // Raises a LAMMPS error if the model declares other units than the input script.
  void check_units(const std::string &units);
  // Warns, once, if the input script lacks a pair style that the model was fitted on top of.
  void check_reference();
  // Group bits of the atoms that neigh_modify exclude removes entirely; these are hidden from the model. Excluding only
  // some pairs of an atom raises a LAMMPS error, unless the model's energy is a sum over pairs.
  int excluded_atoms(bool pairwise);
  // Message for an energy or a force of an atom that is NaN or infinite.
  std::string not_finite_message(const char *quantity, LAMMPS_NS::tagint atom, int element) const;

  std::string file_;                     // of the model, as the input script names it
  std::vector<std::string> elements_;    // of the model
  std::string reference_;                // pair styles of its reference potential, separated by blanks
  std::vector<int> element_of_;          // element index of each LAMMPS type, -1 for NULL
  AtomTargets targets_;

 private:
  void allocate();
};

}    // namespace fitsnap_nn

#endif
