#include "pair_mliap_dispatch.h"

#include "core_library.h"

#include "atom.h"
#include "error.h"
#include "neighbor.h"

#include <algorithm>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Whether the words after `pair_style mliap` ask for a model in Python. Of `model` and `descriptor`, each takes a name
// and a file.
bool needs_python(int narg, char **arg) {
  for (int i = 0; i < narg; i += 3) {
    std::string keyword = arg[i];
    if (keyword == "unified")
      return true;
    if (keyword == "model" && i + 1 < narg && std::string(arg[i + 1]) == "mliappy")
      return true;
  }
  return false;
}

}    // namespace

Force::PairCreator PairMLIAPDispatch::built_in = nullptr;

PairMLIAPDispatch::PairMLIAPDispatch(LAMMPS *lmp) : Pair(lmp) {
  // As every form of the style, for those who look before settings().
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
  // Until there is a new one, also if making it fails, LAMMPS finds that no coefficients are set.
  allocated = 0;
  setflag = nullptr;
  cutsq = cutghost = nullptr;
  python = nullptr;
  inner.reset();
  if (needs_python(narg, arg)) {
    auto created = create_python_pair(lmp, narg, arg);
    python = created.get();
    inner = std::move(created);
  } else {
    if (!built_in)
      error->all(FLERR, "This form of pair_style mliap is that of package ML-IAP, which this LAMMPS does not have");
    inner.reset(built_in(lmp));
    inner->settings(narg, arg);
  }
}

void PairMLIAPDispatch::coeff(int narg, char **arg) {
  if (!inner)
    error->all(FLERR, "Pair style mliap is not kept in restart files: give the pair_style command again");
  inner->coeff(narg, arg);
  copy_flags();
}

void PairMLIAPDispatch::modify_params(int narg, char **arg) {
  Pair::modify_params(narg, arg);
  if (inner)
    inner->modify_params(narg, arg);
}

void PairMLIAPDispatch::init_style() {
  // The list is asked for in the name of this object: pair hybrid does not know the inner one, and would skip all
  // pairs in its list.
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
  // LAMMPS hands a list over once, and keeps it when a second pair_style command has made a new inner style.
  if (inner->list != list)
    inner->init_list(0, list);
  ev_init(eflag, vflag);
  inner->compute(eflag, vflag);
  copy_tallies();
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

// What LAMMPS reads of a pair style without asking. The arrays stay those of the inner style: `allocated`, which
// belongs to who frees them, only says here that they are there.
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

void PairMLIAPDispatch::copy_tallies() {
  did_tally_flag = inner->did_tally_callback();
  eng_vdwl = inner->eng_vdwl;
  eng_coul = inner->eng_coul;
  std::copy_n(inner->virial, 6, virial);
  int count = atom->nlocal + (force->newton_pair ? atom->nghost : 0);
  if (eflag_atom)
    std::copy_n(inner->eatom, count, eatom);
  // Rows of a LAMMPS array follow each other in memory.
  if (vflag_atom && count)
    std::copy_n(inner->vatom[0], 6 * count, vatom[0]);
  if (cvflag_atom && count)
    std::copy_n(inner->cvatom[0], 9 * count, cvatom[0]);
}

}    // namespace fitsnap_nn
