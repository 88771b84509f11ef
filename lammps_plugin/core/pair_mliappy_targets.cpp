// Targets of pair_style mliap model mliappy: the uncertainty of forces.

#include "pair_mliappy.h"

#include "collective.h"

#include "atom.h"
#include "error.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

using namespace LAMMPS_NS;

namespace fitsnap_nn {

// The uncertainty is the length of the deviations of the forces by other models, which the model has scaled. Forces are
// linear in beta = dE/dB, so that those of the differences of beta are evaluated, on the descriptors of this step.
void PairMliappy::evaluate_targets() {
  if (!list)
    error->all(FLERR, "The uncertainty of the model in " + file_ + " needs a step of the pair style");
  const int local = neighbors_.local();
  int count = 0;
  call_on_all_ranks(lmp, [&] {
    targets_.output.reserve(local);
    count = static_cast<int>(get_double(model_.get(), "deviations"));
    deviations_.assign(3 * std::size_t(count) * neighbors_.atoms(), 0.0);
    for (int number = 0; number < count && neighbors_.centres() > 0; ++number)
      compute_deviation(number, count);
  });
  const int width = 3 * count;
  exchange_.perform(ExchangeKind::reverse, {deviations_.data(), width, false, neighbors_.row_of().data()});
  for (int row = 0; row < local; ++row) {
    const double *own = &deviations_[std::size_t(width) * row];
    double sum = 0.0;
    for (int k = 0; k < width; ++k)
      sum += own[k] * own[k];
    targets_.output.data()[row] = std::sqrt(sum);
  }
  targets_.store(neighbors_.atom_of(), local, atom->nlocal);
}

// Adds the deviations by one of the other models to the columns of the atoms.
void PairMliappy::compute_deviation(int number, int count) {
  const int centres = neighbors_.centres();
  const Py_ssize_t values = Py_ssize_t(centres) * descriptor_->size();
  const PyRef elements = neighbors_.centre_elements.rows(centres), components = components_.rows(values);
  const PyRef beta = beta_.rows(values);
  checked(PyObject_CallMethod(model_.get(), "compute_deviation", "iOOO", number, elements.get(), components.get(),
                              beta.get()));
  descriptor_->forces(beta_.data(), forces_.data());
  for (int n = 0; n < centres; ++n)
    for (int k = first_[n]; k < first_[n + 1]; ++k) {
      const double *dedr = &forces_[3 * std::size_t(k)];
      double *on_i = &deviations_[3 * (std::size_t(count) * neighbors_.centre_atoms.data()[n] + number)];
      double *on_j = &deviations_[3 * (std::size_t(count) * neighbors_.pair_j.data()[k] + number)];
      for (int axis = 0; axis < 3; ++axis) {
        on_i[axis] += dedr[axis];
        on_j[axis] -= dedr[axis];
      }
    }
}

int PairMliappy::pack_reverse_comm(int count, int first, double *buffer) {
  return exchange_.pack_reverse(count, first, buffer);
}

void PairMliappy::unpack_reverse_comm(int count, int *atoms, double *buffer) {
  exchange_.unpack_reverse(count, atoms, buffer);
}

}    // namespace fitsnap_nn
