// Targets of a model besides the energy, as the values of atoms that LAMMPS' fix pair reads from a pair style.

#ifndef FITSNAP_NN_ATOM_TARGETS_H
#define FITSNAP_NN_ATOM_TARGETS_H

#include "numpy_array.h"
#include "python_object.h"

#include <string>
#include <vector>

namespace fitsnap_nn {

// Name of the uncertainty of the forces, in the list of targets of a model.
constexpr const char *UNCERTAINTY = "uncertainty";

struct AtomTarget {
  std::string name;
  int components;
  bool requested;               // by a fix, now or earlier
  bool chosen;                  // to be evaluated now
  bool current;                 // values are those of this step
  int trigger;                  // set and reset by a fix pair with flag 1; not needed here
  std::vector<double> values;   // (local atoms, components)
  std::vector<double *> rows;   // first component of each atom

  // In the form that Pair::extract_peratom demands: a vector for one component, else an array of pointers. Never null,
  // also on a rank without atoms.
  int columns() const { return components == 1 ? 0 : components; }
  void *data() { return components == 1 ? static_cast<void *>(values.data()) : static_cast<void *>(rows.data()); }
};

class AtomTargets {
 public:
  // Reads names and numbers of components, attributes `target_names` and `target_components` of the model.
  void declare(PyObject *model);

  AtomTarget *find(const std::string &name);
  AtomTarget *find_by_trigger(const std::string &name);    // name of the target and `_flag`
  std::string names() const;                               // for messages; empty without targets

  // Chooses what is evaluated for a target: all that have been requested, so that the model runs once. The uncertainty,
  // which costs several times as much and is needed less often, is evaluated alone.
  void choose(AtomTarget *target);

  // The chosen targets, whose values the model writes to `output` (local, sum of components) row by row.
  PyRef chosen() const;       // list of names
  int width() const;          // sum of components
  NumpyArray<double> output;

  // Distributes the output over the `atoms` local atoms of LAMMPS; atoms without a row get 0.
  void store(const std::vector<int> &atom_of, int local, int atoms);
  void invalidate();    // before each step
  double bytes() const;

 private:
  std::vector<AtomTarget> targets_;
};

}    // namespace fitsnap_nn

#endif
