// pair_style mliap unified FILE [0|1]: a Python model computes the energy and the forces, by pairs or by atoms.

#ifndef FITSNAP_NN_PAIR_UNIFIED_H
#define FITSNAP_NN_PAIR_UNIFIED_H

#include "exchange.h"
#include "model_link.h"
#include "neighbor_arrays.h"
#include "pair_model.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <tuple>

namespace fitsnap_nn {

class PairUnified : public PairModel, private ModelCalls {
 public:
  explicit PairUnified(LAMMPS_NS::LAMMPS *lmp);
  ~PairUnified() override;

  void settings(int narg, char **arg) override;
  void init_style_for(LAMMPS_NS::Pair *owner) override;
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  double memory_usage() override;

  int pack_forward_comm(int count, int *atoms, double *buffer, int, int *) override;
  void unpack_forward_comm(int count, int first, double *buffer) override;
  int pack_reverse_comm(int count, int first, double *buffer) override;
  void unpack_reverse_comm(int count, int *atoms, double *buffer) override;

 private:
  Py_ssize_t atom_count() const override { return neighbors_.atoms(); }
  Py_ssize_t pair_count() const override { return neighbors_.pairs(); }
  Py_ssize_t local_count() const override { return neighbors_.local(); }
  double add_pair_energies(const double *energies) override;
  void add_pair_forces(const double *forces) override;
  void add_virial(const double *values) override;
  void add_atom_virials(const double *values) override;
  void exchange(ExchangeKind kind, const FeatureMatrix &features) override;

  void load();
  void set_communication_cutoff();
  void run_step(const std::function<void()> &work);
  void zero_results();
  void call_model(int eflag, int vflag);
  void call_model_on_lists(int vflag);
  std::array<PyRef, 10> atoms_and_pairs() const;
  std::array<PyRef, 8> atoms_and_lists() const;
  template <class... Arguments> PyRef call(PyObject *method, const Arguments &...arguments);
  void evaluate_targets() override;
  void find_owners();
  PyRef cell() const;
  PyRef periodic() const;
  [[noreturn]] void fail_not_finite(const char *quantity, int row) const;
  void check_results() const;
  void add_results();
  void tally_virial(int pair, const double *force);

  PyRef model_;    // runtime.UnifiedInterface
  NeighborOptions neighbor_options_{};
  bool pairwise_ = false;          // the energy is a sum over pairs
  bool follows_lists_ = false;     // the model keeps the pairs of LAMMPS' lists, and measures them itself
  std::string note_;               // printed before the first run
  double user_cutghost_ = 0.0;     // comm_modify cutoff of the user
  double model_cutghost_ = 0.0;    // the larger value that this pair style set instead, 0 for none

  NeighborArrays neighbors_;
  bool lists_changed_ = false;    // since the model has seen them last
  Exchange exchange_;
  NumpyArray<double> atom_energies_;    // (local,)
  NumpyArray<double, 3> forces_;        // (atoms, 3)
  NumpyArray<double> owners_;           // (atoms,) row of the local atom that each atom is an image of
  double energy_ = 0.0;
};

// Calls a method of the model that takes a link to this pair style and groups of arguments.
template <class... Arguments> PyRef PairUnified::call(PyObject *method, const Arguments &...arguments) {
  const ModelLink link(this);
  // Vectorcall avoids a tuple of arguments per step; it must not drop the references, which `arguments` own.
  std::array<PyObject *, 2 + (std::tuple_size_v<Arguments> + ...)> stack = {model_.get(), link.get()};
  auto end = stack.begin() + 2;
  const auto append = [&end](const auto &group) {
    end = std::transform(group.begin(), group.end(), end, [](const PyRef &item) { return item.get(); });
  };
  (append(arguments), ...);
  return checked(PyObject_VectorcallMethod(method, stack.data(), stack.size(), nullptr));
}

}    // namespace fitsnap_nn

#endif
