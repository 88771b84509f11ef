// What fix pair asks of pair_style mliap unified.

#include "pair_unified.h"

#include "atom.h"
#include "error.h"
#include "update.h"

#include <array>
#include <cmath>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {

// Fix pair asks for the values of atoms. When it is defined, only the number of columns matters.
void *PairUnified::extract_peratom(const char *name, int &columns) {
  AtomTarget *target = targets_.find(name);
  if (!target) {
    const std::string names = targets_.names();
    error->all(FLERR, "The model in " + file_ + " has no target " + name + ": " +
                          (names.empty() ? "it has none" : "its targets are " + names) +
                          ". Compute pe/atom provides the energies of atoms");
  }
  columns = target->columns();
  target->requested = true;
  if (update->whichflag == 0)
    return nullptr;
  if (!target->current)
    evaluate_targets();
  return target->data();
}

// Targets are evaluated when they are asked for, so that no trigger is needed.
void *PairUnified::extract(const char *name, int &dimension) {
  AtomTarget *target = targets_.find_by_trigger(name);
  dimension = 0;
  return target ? &target->trigger : nullptr;
}

// Reads the neighbour lists again: since compute(), another fix may have moved atoms for a while, as fix numdiff does.
void PairUnified::evaluate_targets() {
  if (!list)
    error->all(FLERR, "Targets of the model in " + file_ + " need the neighbor list of a step of the pair style");
  run_step([&] {
    static PyObject *of_pairs = checked(PyUnicode_InternFromString("compute_targets")).release();
    static PyObject *of_lists = checked(PyUnicode_InternFromString("compute_list_targets")).release();
    const Py_ssize_t count = Py_ssize_t(neighbors_.local()) * targets_.width();
    targets_.output.reserve(count);
    std::array<PyRef, 2> outputs = {targets_.requested(), targets_.output.rows(count)};
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
