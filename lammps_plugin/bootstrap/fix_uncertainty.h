// fix ID GROUP mliap/uncertainty N THRESHOLD warn|dump|stop: watches the uncertainty of the forces of pair_style mliap.

#ifndef FITSNAP_NN_FIX_UNCERTAINTY_H
#define FITSNAP_NN_FIX_UNCERTAINTY_H

#include "fix.h"
#include "pair.h"

#include <vector>

namespace fitsnap_nn {

// Every N steps it evaluates the uncertainty of the force on each atom, its vector per atom. Its global vector contains
// the largest one in the group, the ID of that atom, and how often it was above the threshold since the fix was defined,
// so that a dump can skip the other steps. Above the threshold it warns or, with `stop`, ends the run with an error,
// after the output of the step.
class FixUncertainty : public LAMMPS_NS::Fix {
 public:
  FixUncertainty(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);

  int setmask() override;
  void init() override;
  void setup(int) override { end_of_step(); }
  void min_setup(int) override { end_of_step(); }
  void end_of_step() override;
  void post_run() override;
  // Does nothing, as in the base class. Its name contains the size of tagint: inherited, it would keep a plugin for other
  // integers from being loaded, before the guards can say what is wrong.
  void set_molecule(int, LAMMPS_NS::tagint, int, double *, double *, double *) override {}
  double compute_scalar() override { return largest_; }
  double compute_vector(int n) override { return n == 0 ? largest_ : n == 1 ? double(atom_id_) : double(above_); }
  double memory_usage() override { return double(values_.capacity() * sizeof(double)); }

 private:
  void find_largest();
  void warn();

  LAMMPS_NS::Pair *pair_ = nullptr;
  double threshold_;
  bool stops_;
  std::vector<double> values_;    // (atoms,)
  double largest_ = 0.0;
  LAMMPS_NS::tagint atom_id_ = 0;
  LAMMPS_NS::bigint last_step_ = -1, counted_step_ = -1, above_ = 0;
  // Of this run.
  LAMMPS_NS::bigint steps_ = 0, steps_above_ = 0, step_of_run_ = 0;
  double largest_of_run_ = 0.0;
  LAMMPS_NS::tagint atom_of_run_ = 0;
  bool stopped_ = false;
};

}    // namespace fitsnap_nn

#endif
