// pair_style mliap model mliappy FILE descriptor sna FILE: bispectrum components B are computed here, a Python model
// returns the energy per atom and beta = dE/dB, and forces follow from beta.

#ifndef FITSNAP_NN_PAIR_MLIAPPY_H
#define FITSNAP_NN_PAIR_MLIAPPY_H

#include "exchange.h"
#include "neighbor_arrays.h"
#include "numpy_array.h"
#include "pair_model.h"

#include "../snap/descriptor.h"

#include <memory>

namespace fitsnap_nn {

class PairMliappy : public PairModel {
 public:
  explicit PairMliappy(LAMMPS_NS::LAMMPS *lmp);

  void settings(int narg, char **arg) override;
  void init_style_for(LAMMPS_NS::Pair *owner) override;
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  double memory_usage() override;

  int pack_reverse_comm(int count, int first, double *buffer) override;
  void unpack_reverse_comm(int count, int *atoms, double *buffer) override;

 private:
  void evaluate_targets() override;
  void compute_deviation(int number, int count);
  void load(const std::string &descriptor_file);
  void connect();
  void find_neighbors(int excluded);
  void call_model();
  void check_results() const;
  void add_results();

  PyRef model_;    // descriptor_model.DescriptorModel
  std::unique_ptr<snap::Descriptor> descriptor_;

  NeighborOptions neighbor_options_;    // with the largest cutoff; the descriptor applies that of each pair
  NeighborArrays neighbors_;
  std::vector<int> first_;                  // (centres + 1,): first pair of each atom
  std::vector<double> forces_;              // (pairs, 3): dE by the vector from i to j
  NumpyArray<double> components_, beta_;    // (centres * components,)
  NumpyArray<double> energies_;             // (centres,)
  Exchange exchange_;
  std::vector<double> deviations_;    // (atoms, 3 * count): of the forces by other models, see evaluate_targets
};

}    // namespace fitsnap_nn

#endif
