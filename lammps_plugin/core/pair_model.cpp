#include "pair_model.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <cstring>
#include <sstream>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

std::string joined(const std::vector<std::string> &words) {
  std::string result;
  for (const std::string &word : words)
    result += (result.empty() ? "" : ", ") + word;
  return result;
}

}    // namespace

PairModel::PairModel(LAMMPS *lmp) : InnerPair(lmp) {
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
}

PairModel::~PairModel() {
  memory->destroy(setflag);
  memory->destroy(cutsq);
  memory->destroy(cutghost);
}

void PairModel::check_units(const std::string &units) {
  const std::string style = update->unit_style;
  if (!units.empty() && units != style)
    error->all(FLERR, "The model in " + file_ + " uses units " + units + ", but the input script uses units " + style);
  if (units.empty() && style != "metal" && style != "lj" && comm->me == 0)
    error->warning(FLERR, "The model in " + file_ +
                              " does not declare its units (attribute `units`). Its energies and " +
                              "distances are assumed to be in units " + style);
}

void PairModel::check_reference() {
  std::istringstream styles(reference_);
  std::vector<std::string> missing;
  for (std::string style; styles >> style;)
    if (!force->pair_match(style, 0))
      missing.push_back(style);
  if (!missing.empty() && comm->me == 0)
    error->warning(FLERR, "The model in " + file_ + " was fitted on top of pair style " + joined(missing) +
                              ", which the input script does not add. Its energies and forces are incomplete: " +
                              "use pair_style hybrid/overlay as in the .mod file of the fit");
  reference_.clear();
}

void PairModel::coeff(int narg, char **arg) {
  const int types = atom->ntypes;
  if (narg != types + 2 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_coeff for " + file_ + " takes * * and one element or NULL for each of the " +
                          std::to_string(types) + " atom types");
  std::vector<int> element_of(types + 1, -1);
  for (int type = 1; type <= types; ++type) {
    const std::string name = arg[type + 1];
    const auto found = std::find(elements_.begin(), elements_.end(), name);
    if (found != elements_.end())
      element_of[type] = static_cast<int>(found - elements_.begin());
    else if (name != "NULL")
      error->all(FLERR, "The model in " + file_ + " supports " + joined(elements_) + " but not " + name);
  }
  if (std::all_of(element_of.begin(), element_of.end(), [](int element) { return element < 0; }))
    error->all(FLERR, "pair_coeff for " + file_ + " maps all atom types to NULL. At least one type needs an element");
  element_of_ = element_of;
  if (!allocated)
    allocate();
  for (int i = 1; i <= types; ++i)
    for (int j = i; j <= types; ++j)
      setflag[i][j] = element_of_[i] >= 0 && element_of_[j] >= 0;
}

void PairModel::allocate() {
  const int rows = atom->ntypes + 1;
  memory->create(setflag, rows, rows, "pair:setflag");
  memory->create(cutsq, rows, rows, "pair:cutsq");
  memory->create(cutghost, rows, rows, "pair:cutghost");
  for (auto *array : {&cutsq, &cutghost})
    std::fill_n((*array)[0], rows * rows, 0.0);
  std::fill_n(setflag[0], rows * rows, 0);
  allocated = 1;
}

// A fix asks for the values of atoms. When it is defined, only the number of columns matters.
void *PairModel::extract_peratom(const char *name, int &columns) {
  AtomTarget *target = targets_.find(name);
  if (!target && std::string(name) == UNCERTAINTY)
    error->all(FLERR, "The model in " + file_ + " has no uncertainty of forces: repeat its fit, or continue it, with " +
                          "uncertainty in section EXTRAS");
  if (!target) {
    const std::string names = targets_.names();
    error->all(FLERR, "The model in " + file_ + " has no target " + name + ": " +
                          (names.empty() ? "it has none" : "its targets are " + names) +
                          ". Compute pe/atom provides the energies of atoms");
  }
  columns = target->columns();
  target->requested = true;
  if (update->whichflag == 0)
    return nullptr;
  if (!target->current) {
    targets_.choose(target);
    evaluate_targets();
  }
  return target->data();
}

// Targets are evaluated when they are asked for, so that no trigger is needed.
void *PairModel::extract(const char *name, int &dimension) {
  AtomTarget *target = targets_.find_by_trigger(name);
  dimension = 0;
  return target ? &target->trigger : nullptr;
}

// A many-body energy is well defined without an atom, but not without some of its pairs. Exclusions of a group from the
// group `all` remove atoms entirely, as fix gcmc does for a trial deletion: these atoms are hidden from the model. Any
// other exclusion is partial.
int PairModel::excluded_atoms(bool pairwise) {
  if (!neighbor->exclude)
    return 0;
  bool partial = neighbor->nex_mol > 0;
  for (int k = 0; k < neighbor->nex_type; ++k)
    partial |= element_of_[neighbor->ex1_type[k]] >= 0 && element_of_[neighbor->ex2_type[k]] >= 0;
  int excluded = 0;
  const int group_all = 0;
  for (int k = 0; k < neighbor->nex_group; ++k) {
    if (neighbor->ex2_group[k] == group_all)
      excluded |= neighbor->ex1_bit[k];
    else if (neighbor->ex1_group[k] == group_all)
      excluded |= neighbor->ex2_bit[k];
    else
      partial = true;
  }
  if (partial && !pairwise)
    error->all(FLERR, "neigh_modify exclude removes some neighbors of an atom, but the energy of the model in " +
                          file_ +
                          " depends on all of them. A model that is a sum over pairs declares `pairwise = True`");
  return excluded;
}

std::string PairModel::not_finite_message(const char *quantity, tagint atom, int element) const {
  return "the model in " + file_ + ": " + quantity + " of atom " + std::to_string(atom) + " (" + elements_[element] +
         ") is not a finite number. Atoms are too close together or the simulation is unstable: check the initial " +
         "structure, the timestep and the temperature";
}

}    // namespace fitsnap_nn
