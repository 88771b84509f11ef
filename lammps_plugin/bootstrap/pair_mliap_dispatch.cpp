#include "pair_mliap_dispatch.h"

#include "builtin_checks.h"
#include "core_library.h"
#include "failing_rank.h"
#include "masses.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neighbor.h"

#include <algorithm>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Type of the model in the arguments of pair_style mliap, such as mliappy, nn or `unified`. `model` and `descriptor`
// are each followed by a type and a file, hence steps of three.
std::string model_type(int narg, char **arg) {
  for (int i = 0; i < narg; i += 3) {
    const std::string keyword = arg[i];
    if (keyword == "unified")
      return keyword;
    if (keyword == "model" && i + 1 < narg)
      return arg[i + 1];
  }
  return {};
}

}    // namespace

Force::PairCreator PairMLIAPDispatch::builtin = nullptr;

PairMLIAPDispatch::PairMLIAPDispatch(LAMMPS *lmp) : Pair(lmp) {
  // Flags that all forms share, for commands that read them before settings().
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
}

void PairMLIAPDispatch::settings(int narg, char **arg) {
  create_inner(narg, arg);
  copy_flags();
}

void PairMLIAPDispatch::create_inner(int narg, char **arg) {
  // Drop pointers into the old inner style before it is deleted. If creating the new one fails, LAMMPS then reports
  // that coefficients are not set instead of reading freed memory.
  allocated = 0;
  setflag = nullptr;
  cutsq = cutghost = nullptr;
  python = nullptr;
  inner.reset();
  const std::string type = model_type(narg, arg);
  neural_network = type == "nn";
  if (type == "unified" || type == "mliappy") {
    auto created = create_python_pair(lmp, narg, arg);
    python = created.get();
    inner = std::move(created);
  } else {
    if (!builtin)
      error->all(FLERR, "This form of pair_style mliap requires package ML-IAP, which this LAMMPS was built without");
    inner.reset(builtin(lmp));
    inner->settings(narg, arg);
  }
}

void PairMLIAPDispatch::coeff(int narg, char **arg) {
  if (!inner)
    error->all(FLERR,
               "Pair style mliap is not stored in restart files: repeat the pair_style command before pair_coeff");
  inner->coeff(narg, arg);
  // The arguments are * * and one element per atom type.
  symbols.assign(arg + std::min(2, narg), arg + narg);
  masses_checked = false;
  copy_flags();
}

void PairMLIAPDispatch::modify_params(int narg, char **arg) {
  Pair::modify_params(narg, arg);
  if (inner)
    inner->modify_params(narg, arg);
}

void PairMLIAPDispatch::init_style() {
  // Not earlier: masses can be set after pair_coeff.
  if (!masses_checked)
    check_masses(lmp, symbols);
  masses_checked = true;
  // The list is requested for this object, not for the inner one: see InnerPair::init_style_for. A built-in style would
  // request it for itself, so its init_style is not called but repeated here.
  if (python) {
    python->init_style_for(this);
  } else {
    if (!force->newton_pair)
      error->all(FLERR, "Pair style mliap requires newton pair on");
    neighbor->add_request(this, NeighConst::REQ_FULL | (inner->ghostneigh ? NeighConst::REQ_GHOST : 0));
  }
  copy_flags();
}

void PairMLIAPDispatch::init_list(int id, NeighList *list) {
  Pair::init_list(id, list);
  inner->init_list(id, list);
}

double PairMLIAPDispatch::init_one(int i, int j) {
  return inner->init_one(i, j);
}

void PairMLIAPDispatch::setup() {
  inner->setup();
}

void PairMLIAPDispatch::finish() {
  inner->finish();
}

void PairMLIAPDispatch::compute(int eflag, int vflag) {
  // LAMMPS calls init_list only when it creates the list. A second pair_style command creates a new inner style but
  // keeps the list.
  if (inner->list != list)
    inner->init_list(0, list);
  ev_init(eflag, vflag);
  if (python)
    inner->compute(eflag, vflag);
  else
    compute_builtin(eflag, vflag);
  copy_tallies();
}

// LAMMPS' own forms communicate nothing, so that a rank may leave the computation out.
void PairMLIAPDispatch::compute_builtin(int eflag, int vflag) {
  if (neural_network)
    refuse_exclusions(lmp, symbols);
  std::string failure = contact_of(*lmp, *list, symbols);
  if (failure.empty()) {
    inner->compute(eflag, vflag);
    failure = not_finite_result(*lmp, *inner);
  }
  const int failing = lowest_failing_rank(lmp, failure);
  if (failing < comm->nprocs)
    raise_failure_of(lmp, failing, failure, "pair_style mliap: ");
}

void *PairMLIAPDispatch::extract(const char *name, int &dim) {
  return inner ? inner->extract(name, dim) : nullptr;
}

void *PairMLIAPDispatch::extract_peratom(const char *name, int &ncol) {
  return inner ? inner->extract_peratom(name, ncol) : nullptr;
}

double PairMLIAPDispatch::memory_usage() {
  return Pair::memory_usage() + (inner ? inner->memory_usage() : 0.0);
}

void PairMLIAPDispatch::add_tally_callback(Compute *compute) {
  if (inner)
    inner->add_tally_callback(compute);
}

void PairMLIAPDispatch::del_tally_callback(Compute *compute) {
  if (inner)
    inner->del_tally_callback(compute);
}

// Copies the public members that LAMMPS reads directly. The arrays remain owned by the inner style. Setting `allocated`
// is safe although Pair frees arrays under that flag: the destructors of derived classes do so, and ours does not.
void PairMLIAPDispatch::copy_flags() {
  setflag = inner->setflag;
  cutsq = inner->cutsq;
  cutghost = inner->cutghost;
  allocated = inner->allocated;
  comm_forward = inner->comm_forward;
  comm_reverse = inner->comm_reverse;
  comm_reverse_off = inner->comm_reverse_off;
  one_coeff = inner->one_coeff;
  manybody_flag = inner->manybody_flag;
  unit_convert_flag = inner->unit_convert_flag;
  no_virial_fdotr_compute = inner->no_virial_fdotr_compute;
  ghostneigh = inner->ghostneigh;
  centroidstressflag = inner->centroidstressflag;
}

// Copies the energies and virials that computes and fixes read after compute().
void PairMLIAPDispatch::copy_tallies() {
  did_tally_flag = inner->did_tally_callback();
  eng_vdwl = inner->eng_vdwl;
  eng_coul = inner->eng_coul;
  std::copy_n(inner->virial, 6, virial);
  int count = atom->nlocal + (force->newton_pair ? atom->nghost : 0);
  if (eflag_atom)
    std::copy_n(inner->eatom, count, eatom);
  // The rows of a LAMMPS 2d array are contiguous.
  if (vflag_atom && count)
    std::copy_n(inner->vatom[0], 6 * count, vatom[0]);
  if (cvflag_atom && count)
    std::copy_n(inner->cvatom[0], 9 * count, cvatom[0]);
}

}    // namespace fitsnap_nn
