// pair_style mliap model mliappy FILE descriptor sna FILE: a Python object computes energies of atoms, and their
// derivatives by the atoms' bispectrum, which is computed here.

#ifndef FITSNAP_NN_PAIR_MLIAPPY_H
#define FITSNAP_NN_PAIR_MLIAPPY_H

#include "neighbor_arrays.h"
#include "numpy_array.h"
#include "pair_model.h"

#include "../snap/descriptor.h"

#include <memory>

namespace fitsnap_nn {

class PairMliappy : public PairModel {
 public:
  explicit PairMliappy(LAMMPS_NS::LAMMPS *lmp) : PairModel(lmp), neighbors_(lmp) {}

  void settings(int count, char **words) override;
  void init_style_for(LAMMPS_NS::Pair *owner) override;
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  double memory_usage() override;

 private:
  void load(const std::string &descriptor_file);
  void connect();
  void find_neighbors(int absent);
  void call_model();
  void check_results() const;
  void add_results();

  PyRef model_;    // descriptor_model.DescriptorModel
  std::unique_ptr<snap::Descriptor> descriptor_;

  Reach reach_;    // the largest of the cutoffs
  NeighborArrays neighbors_;
  std::vector<int> first_;                    // where an atom's pairs start
  std::vector<double> forces_;                // (pairs, 3)
  NumpyArray<double> components_, slopes_;    // (atoms, components), one row after the other
  NumpyArray<double> energies_;               // (atoms,)
};

}    // namespace fitsnap_nn

#endif
