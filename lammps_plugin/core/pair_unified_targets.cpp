// Targets of pair_style mliap unified.

#include "pair_unified.h"

#include "atom.h"
#include "error.h"

#include <array>
#include <cmath>

using namespace LAMMPS_NS;

namespace fitsnap_nn {

// Reads the neighbour lists again: since compute(), another fix may have moved atoms for a while, as fix numdiff does.
void PairUnified::evaluate_targets() {
  if (!list)
    error->all(FLERR, "Targets of the model in " + file_ + " need the neighbor list of a step of the pair style");
  run_step([&] {
    static PyObject *of_pairs = checked(PyUnicode_InternFromString("compute_targets")).release();
    static PyObject *of_lists = checked(PyUnicode_InternFromString("compute_list_targets")).release();
    const Py_ssize_t count = Py_ssize_t(neighbors_.local()) * targets_.width();
    targets_.output.reserve(count);
    std::array<PyRef, 2> outputs = {targets_.chosen(), targets_.output.rows(count)};
    if (follows_lists_)
      call(of_lists, outputs, atoms_and_lists());
    else
      call(of_pairs, outputs, atoms_and_pairs());
    const double *values = targets_.output.data();
    for (Py_ssize_t k = 0; k < count; ++k)
      if (!std::isfinite(values[k]))
        fail_not_finite("a target", static_cast<int>(k / targets_.width()));
  });
  targets_.store(neighbors_.atom_of(), neighbors_.local(), atom->nlocal);
}

}    // namespace fitsnap_nn
