// Pair style mliap, every form of it: those that need Python are computed by the core of this plugin, all others by
// LAMMPS' own style.

#ifndef FITSNAP_NN_PAIR_MLIAP_DISPATCH_H
#define FITSNAP_NN_PAIR_MLIAP_DISPATCH_H

#include "force.h"
#include "inner_pair.h"

#include <memory>

namespace fitsnap_nn {

// Holds the style that computes and stands for it wherever LAMMPS looks: which one it is shows only when the words of
// the pair_style command are seen, when LAMMPS has its object already.
class PairMLIAPDispatch : public LAMMPS_NS::Pair {
 public:
  explicit PairMLIAPDispatch(LAMMPS_NS::LAMMPS *lmp);

  // Creates LAMMPS' own pair style mliap; null where LAMMPS has none.
  static LAMMPS_NS::Force::PairCreator built_in;

  void settings(int narg, char **arg) override;
  void coeff(int narg, char **arg) override;
  void modify_params(int narg, char **arg) override;
  void init_style() override;
  void init_list(int id, LAMMPS_NS::NeighList *list) override;
  double init_one(int i, int j) override;
  void setup() override;
  void compute(int eflag, int vflag) override;
  void finish() override;
  void *extract(const char *name, int &dim) override;
  void *extract_peratom(const char *name, int &ncol) override;
  double memory_usage() override;
  void add_tally_callback(LAMMPS_NS::Compute *compute) override;
  void del_tally_callback(LAMMPS_NS::Compute *compute) override;

 private:
  std::unique_ptr<LAMMPS_NS::Pair> inner;
  InnerPair *python = nullptr;    // the same object, if it needs Python

  void create_inner(int narg, char **arg);
  void copy_flags();
  void copy_tallies();
};

}    // namespace fitsnap_nn

#endif
