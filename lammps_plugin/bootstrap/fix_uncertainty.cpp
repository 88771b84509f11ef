#include "fix_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "timer.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

constexpr const char *QUANTITY = "uncertainty";
constexpr int MAX_WARNINGS = 10;    // per run; a sentence at its end counts all

// Models with an uncertainty require units metal.
std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.3g eV/A", value);
  return buffer;
}

}    // namespace

FixUncertainty::FixUncertainty(LAMMPS *lmp, int narg, char **arg) : Fix(lmp, narg, arg) {
  const std::string action = narg == 6 ? arg[5] : "";
  if (action != "warn" && action != "dump" && action != "stop")
    error->all(FLERR, "Usage: fix ID group mliap/uncertainty N THRESHOLD warn|dump|stop");
  nevery = utils::inumeric(FLERR, arg[3], false, lmp);
  threshold_ = utils::numeric(FLERR, arg[4], false, lmp);
  stops_ = action == "stop";
  if (nevery < 1 || !(threshold_ > 0.0))
    error->all(FLERR, "Fix mliap/uncertainty: the number of steps and the threshold must be above 0");
  peratom_flag = scalar_flag = vector_flag = 1;
  size_peratom_cols = 0;
  size_vector = 3;
  peratom_freq = global_freq = nevery;
  extscalar = extvector = 0;
  // LAMMPS reads the vector of atoms before the first step too, as variables and dumps are defined.
  values_.assign(std::max(atom->nmax, 1), 0.0);
  vector_atom = values_.data();
}

int FixUncertainty::setmask() {
  return FixConst::END_OF_STEP | FixConst::POST_RUN;
}

void FixUncertainty::init() {
  pair_ = force->pair_match("mliap", 1);
  if (!pair_)
    pair_ = force->pair_match("mliap/py", 1);
  if (!pair_)
    error->all(FLERR, "Fix mliap/uncertainty requires pair_style mliap, exactly once");
  if (!atom->tag_enable)
    error->all(FLERR, "Fix mliap/uncertainty requires atom IDs");
  steps_ = steps_above_ = 0;
  largest_of_run_ = 0.0;
  last_step_ = -1;
}

void FixUncertainty::end_of_step() {
  if (update->ntimestep == last_step_ || update->ntimestep % nevery != 0)
    return;
  last_step_ = update->ntimestep;
  int columns = 0;
  const auto *found = static_cast<double *>(pair_->extract_peratom(QUANTITY, columns));
  if (!found)
    error->all(FLERR, "Fix mliap/uncertainty requires a model that the plugin of fitsnap_nn runs in Python: formats "
                      "mliappy and unified, not nn");
  values_.assign(std::max(atom->nmax, 1), 0.0);
  // A force that is not a number has no uncertainty either: nothing is known about it.
  std::transform(found, found + atom->nlocal, values_.begin(),
                 [](double value) { return std::isfinite(value) ? value : std::numeric_limits<double>::infinity(); });
  vector_atom = values_.data();
  find_largest();
  // A run begins with the last step of the previous one, whose atoms may be in another order by now.
  if (last_step_ == counted_step_)
    return;
  counted_step_ = last_step_;
  ++steps_;
  if (largest_ > largest_of_run_) {
    largest_of_run_ = largest_;
    atom_of_run_ = atom_id_;
    step_of_run_ = last_step_;
  }
  if (largest_ <= threshold_)
    return;
  ++above_;
  ++steps_above_;
  if (stops_ && update->whichflag != 0) {
    stopped_ = true;
    timer->force_timeout();
  } else {
    warn();
  }
}

void FixUncertainty::find_largest() {
  struct {
    double value;
    int rank;
  } mine = {-1.0, comm->me}, all;
  tagint tag = 0;
  for (int i = 0; i < atom->nlocal; ++i)
    if ((atom->mask[i] & groupbit) && values_[i] > mine.value) {
      mine.value = values_[i];
      tag = atom->tag[i];
    }
  MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  MPI_Bcast(&tag, 1, MPI_LMP_TAGINT, all.rank, world);
  largest_ = std::max(all.value, 0.0);
  atom_id_ = tag;
}

void FixUncertainty::warn() {
  if (comm->me != 0 || steps_above_ > MAX_WARNINGS)
    return;
  const std::string more = steps_above_ == MAX_WARNINGS ? ". Further warnings of this run are omitted" : "";
  error->warning(FLERR, "Step " + std::to_string(last_step_) + ": the uncertainty of the force on atom " +
                            std::to_string(atom_id_) + ", " + text(largest_) + ", is above " + text(threshold_) +
                            ": outside the domain of the training set" + more);
}

void FixUncertainty::post_run() {
  const std::string most = "at most " + text(largest_of_run_) + " (atom " + std::to_string(atom_of_run_) + ", step " +
                           std::to_string(step_of_run_) + ")";
  if (stopped_) {
    timer->reset_timeout();
    error->all(FLERR, "Run stopped at step " + std::to_string(last_step_) + ": the uncertainty of the force on atom " +
                          std::to_string(atom_id_) + ", " + text(largest_) + ", is above " + text(threshold_) +
                          ", outside the domain of the training set");
  }
  if (comm->me == 0 && steps_ > 0)
    utils::logmesg(lmp, "Uncertainty of forces: " + most + "; above " + text(threshold_) + " in " +
                            std::to_string(steps_above_) + " of " + std::to_string(steps_) + " evaluations\n");
}

}    // namespace fitsnap_nn
