// Pair style mliap in all its forms: forms with a Python model are delegated to the core of this plugin, all others to
// LAMMPS' built-in style.

#ifndef FITSNAP_NN_PAIR_MLIAP_DISPATCH_H
#define FITSNAP_NN_PAIR_MLIAP_DISPATCH_H

#include "force.h"
#include "inner_pair.h"

#include <memory>
#include <string>
#include <vector>

namespace fitsnap_nn {

// Forwards to the inner style that computes. A dispatcher is needed because LAMMPS creates the Pair object before it
// passes the arguments of pair_style, on which the choice depends.
class PairMLIAPDispatch : public LAMMPS_NS::Pair {
 public:
  explicit PairMLIAPDispatch(LAMMPS_NS::LAMMPS *lmp);

  // Creator of LAMMPS' built-in pair style mliap; null if LAMMPS was built without package ML-IAP.
  static LAMMPS_NS::Force::PairCreator builtin;

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
  InnerPair *python = nullptr;    // the same object if it calls Python, else null
  std::vector<std::string> symbols;    // of pair_coeff: element of each atom type, or NULL
  bool masses_checked = false;
  bool neural_network = false;    // LAMMPS' own model nn

  void create_inner(int narg, char **arg);
  void compute_builtin(int eflag, int vflag);
  void copy_flags();
  void copy_tallies();
};

}    // namespace fitsnap_nn

#endif
